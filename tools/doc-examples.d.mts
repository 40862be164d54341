export function examplesOf(page: string): Promise<readonly { name: string; code: string }[]>;
