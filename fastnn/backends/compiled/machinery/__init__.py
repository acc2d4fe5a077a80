"""The machinery below the kernels: vector instructions, compiling and cache, threads."""
