/** A method as the prototype that declares it has it. */
export interface ClassMethod {
  readonly prototype: object;
  readonly name: string | symbol;
  readonly descriptor: PropertyDescriptor;
  readonly value: object;
}

/** The methods of a class, inherited ones included, without those that a subclass has replaced. */
export function* classMethods(prototype: object | null | undefined): Generator<ClassMethod> {
  const seen = new Set<string | symbol>(['constructor']);
  for (
    let level = prototype;
    level != null && level !== Object.prototype;
    level = Object.getPrototypeOf(level) as object | null
  ) {
    for (const name of Reflect.ownKeys(level)) {
      const descriptor = Reflect.getOwnPropertyDescriptor(level, name);
      if (typeof descriptor?.value === 'function' && !seen.has(name)) {
        yield { prototype: level, name, descriptor, value: descriptor.value as object };
      }
      seen.add(name);
    }
  }
}
