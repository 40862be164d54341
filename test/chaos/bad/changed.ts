/** Something sound with some of its operations replaced. */
export function changed<T extends object>(sound: T, operations: Partial<T>): T {
  return new Proxy(sound, {
    get(target, name) {
      const own = operations[name as keyof T] ?? target[name as keyof T];
      return typeof own === 'function' ? (own.bind(target) as unknown) : own;
    },
  });
}
