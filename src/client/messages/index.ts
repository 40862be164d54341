export { withMessageIds } from './message-ids.js';
export type { IdentifiedClient, MessageClient, MessageSettings } from './message-ids.js';
export type { MessageIdOptions } from '../../outbox/sinks/client-records.js';
