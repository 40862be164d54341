/**
 * What every script begins with. A record is a hash beside three keys in the same slot: `due` (ids by the time at
 * which cleanup looks at them), `ids` (all of them, in order) and `fence` (the last one given, in microseconds).
 *
 * No key has a time to live: Redis would drop records of its own accord, and eviction policies begin with such keys.
 * Every call costs the server more than the Lua around it, so that what is used together is read and written together.
 *
 * @param clock a Lua expression: the store's clock, epoch milliseconds
 */
export const recordScript = (clock: string): string => `
local record, due, ids, fence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = ${clock}

local function load(key)
  local v = redis.call('HMGET', key,
    'state', 'owner', 'fence', 'started', 'finished', 'keep', 'lease', 'expires', 'effect', 'took', 'steps')
  if not v[1] then return nil end
  return {
    at = key, state = v[1], owner = v[2], fence = v[3], started = v[4], finished = v[5], keep = v[6], lease = v[7],
    expires = v[8], effect = v[9], took = v[10], steps = v[11],
  }
end

-- the state that everybody sees; nil: dead
local function seen(r)
  if r == nil or r.state == 'released' then return nil end
  if r.state == 'in-progress' then
    if tonumber(r.lease) > now then return r.state end
    return r.effect and 'uncertain' or nil
  end
  if r.expires and tonumber(r.expires) <= now then return nil end
  return r.state
end

local function show(r, without_result)
  local state = seen(r)
  local has_result = state == 'parked' or (state == 'completed' and not without_result)
  local v = redis.call('HMGET', r.at,
    'fingerprint', 'scope', 'operation', 'key', 'claimed', has_result and 'result' or 'none')
  return {
    string.sub(r.at, -32), state, r.owner, v[1], r.fence, r.started, r.finished, v[2], v[3], v[4], v[5],
    state == 'in-progress' and r.lease, r.expires, v[6],
  }
end
`;

/** What the scripts begin with that end a claim or remove a record. */
export const CHANGE = `
-- nil: never, it waits for somebody
local function over_at(r)
  local state = seen(r)
  if state == 'uncertain' or state == 'parked' then return nil end
  if state == 'in-progress' then return math.max(tonumber(r.lease), tonumber(r.keep)) end
  return tonumber(r.expires or r.keep)
end

local function reschedule(r)
  local at = over_at(r)
  if at then redis.call('ZADD', due, at, string.sub(r.at, -32))
  else redis.call('ZREM', due, string.sub(r.at, -32)) end
end

-- a result is given as the number of texts that follow: 0 stands for null
local function end_with(r, ttl, count, result)
  if r.steps then redis.call('HDEL', r.at, 'steps') end
  if r.state == 'parked' then redis.call('HDEL', r.at, 'result') end
  r.state = count == '1' and 'completed' or 'tombstone'
  r.expires = now + ttl
  redis.call('HSET', r.at, 'state', r.state, 'expires', r.expires, 'finished', r.finished,
    unpack(count == '1' and { 'result', result } or {}))
  reschedule(r)
end

local function discard(r)
  if r.state == 'parked' then redis.call('HDEL', r.at, 'result') end
  r.state = 'released'
  redis.call('HSET', r.at, 'state', r.state, 'started', r.started, 'finished', r.finished)
  reschedule(r)
end

local function delete(r)
  local id = string.sub(r.at, -32)
  redis.call('DEL', r.at)
  redis.call('ZREM', ids, id)
  redis.call('ZREM', due, id)
end
`;
