export function greeting({ name, city }) {
  return city === null ? null : `Hello ${name} of ${city}`;
}

export function throws(row) {
  return row.lacking.toString();
}

export function never({ name }) {
  return name === 'Ada' ? new Promise(() => {}) : name;
}

export function neverForFive({ name }) {
  return name === 'n5' ? new Promise(() => {}) : name;
}

export function returnsNothing(row) {
  String(row.name);
}

export const returnsMap = () => new Map([['name', 'Ada']]);
export const returnsDate = () => new Date(0);
export const returnsList = () => ['Ada'];
export const returnsInstance = () => new (class {})();
