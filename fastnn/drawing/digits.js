// A drawing in the form of MNIST's digits, as `centred` of fastnn/datasets/digits.py makes it.
const SIDE = 28, BOX = 20, CENTRE = 14, THINNEST = 2;

/** Return 784 numbers from 0 to 255 for ink (height rows of width, each 0 to 1), or null for none. */
function centred(ink, height, width) {
  let top = height, bottom = -1, left = width, right = -1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x] > 0) {
        top = Math.min(top, y); bottom = y;
        left = Math.min(left, x); right = Math.max(right, x);
      }
    }
  }
  if (bottom < 0) return null;
  const tall = bottom - top + 1, wide = right - left + 1, scale = BOX / Math.max(tall, wide);
  const [rows, columns] = [tall, wide].map(length => Math.max(1, Math.floor(length * scale + 0.5)));
  const ofRows = averages(tall, rows), ofColumns = averages(wide, columns);
  const small = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (const [y, share] of ofRows[i]) {
      for (let j = 0; j < columns; j++) {
        for (const [x, part] of ofColumns[j]) {
          small[i * columns + j] += share * part * ink[(top + y) * width + left + x];
        }
      }
    }
  }
  let mass = 0, down = 0, along = 0, most = 0;
  small.forEach((value, at) => {
    mass += value;
    down += value * Math.floor(at / columns);
    along += value * (at % columns);
    most = Math.max(most, value);
  });
  const y = place(down / mass, rows), x = place(along / mass, columns);
  const picture = new Uint8Array(SIDE * SIDE);
  small.forEach((value, at) => {
    const row = y + Math.floor(at / columns), column = x + at % columns;
    picture[row * SIDE + column] = Math.floor(value * 255 / most + 0.5);
  });
  return picture;
}

/** Return where a side begins, so that its centre of mass is the centre, or as near as fits. */
function place(centre, length) {
  return Math.min(Math.max(Math.floor(CENTRE - centre + 0.5), 0), SIDE - length);
}

/** Return, for each new pixel, the old ones that fall into it, with their shares. */
function averages(length, shorter) {
  const step = length / shorter;
  return Array.from({length: shorter}, (_, i) => {
    const shares = [];
    for (let at = Math.floor(i * step); at < Math.min(length, (i + 1) * step); at++) {
      const share = (Math.min((i + 1) * step, at + 1) - Math.max(i * step, at)) / step;
      if (share > 0) shares.push([at, share]);
    }
    return shares;
  });
}
