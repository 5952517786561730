export function greeting({ name, city }) {
  return city === null ? null : `Hello ${name} of ${city}`;
}

export function throws(row) {
  return row.lacking.toString();
}
export function never({ name }) {
  return name === 'Ada' ? new Promise(() => {}) : name;
}

