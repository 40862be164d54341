export { idempotentFetch } from './fetch.js';
export { idempotentAxios, type AxiosConfig, type AxiosLike } from './axios.js';
export type { IdempotencyOptions } from './call.js';
export { contentKey, timeKey, uuidv4, uuidv7, type KeyedRequest } from './keys.js';
export { forgetIntent, type KeyStorage } from './pending-keys.js';
export { IdempotencyClientError, type IdempotencyClientCode } from './errors.js';
