export function compileInto(out: string, folders: readonly string[]): Promise<void>;
