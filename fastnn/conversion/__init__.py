"""Networks of other libraries as networks of fastnn: one module for each library."""
