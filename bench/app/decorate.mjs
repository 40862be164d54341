/** Applies decorators to a class, which plain JavaScript has no syntax for yet. */
export function decorate(target, decorators) {
  for (const decorator of decorators.toReversed()) {
    decorator(target);
  }
}

/** Applies decorators to a method, and to its parameters in order. */
export function decorateMethod(target, name, decorators, parameters = []) {
  parameters.forEach((decorator, index) => decorator(target.prototype, name, index));
  let descriptor = Object.getOwnPropertyDescriptor(target.prototype, name);
  for (const decorator of decorators.toReversed()) {
    descriptor = decorator(target.prototype, name, descriptor) ?? descriptor;
  }
  // a decorator may have put a function of its own in the method's place
  Object.defineProperty(target.prototype, name, descriptor);
}
