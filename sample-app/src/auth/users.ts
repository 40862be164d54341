import type { Request } from 'express';

export interface DemoUser {
  readonly id: string;
  readonly tenant: string;
}

export interface AuthenticatedRequest extends Request {
  user: DemoUser;
}

/** The token of a demo user is its name; a real application would verify a signed one. */
export const DEMO_USERS: ReadonlyMap<string, DemoUser> = new Map([
  ['alice', { id: 'alice', tenant: 'tea-house' }],
  ['bob', { id: 'bob', tenant: 'coffee-bar' }],
]);
