import type { ModuleRef } from '@nestjs/core';

/** Makes a timer visible in the application's `SchedulerRegistry`, if it uses `@nestjs/schedule`. */
export async function registerInterval(
  moduleRef: ModuleRef,
  name: string,
  timer: NodeJS.Timeout,
): Promise<void> {
  try {
    const { SchedulerRegistry } = await import('@nestjs/schedule');
    const registry = moduleRef.get(SchedulerRegistry, { strict: false });
    if (!registry.doesExist('interval', name)) {
      registry.addInterval(name, timer);
    }
  } catch {
    // the package is not installed, or its module is not imported: the timer works all the same
  }
}
