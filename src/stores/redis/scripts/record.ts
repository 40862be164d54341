/**
 * What every script begins with. A record is a hash beside three keys in the same slot: `due` (ids by the time at
 * which cleanup looks at them), `ids` (all of them, in order) and `fence` (the last one given, in microseconds).
 *
 * No key has a time to live: Redis would drop records of its own accord, and eviction policies begin with such keys.
 *
 * @param clock a Lua expression: the store's clock, epoch milliseconds
 */
export const recordScript = (clock: string): string => `
local record, due, ids, fence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local now = ${clock}

local FIELDS = {
  'state', 'owner', 'fingerprint', 'fence', 'started', 'finished', 'scope', 'operation', 'key', 'claimed', 'keep',
  'lease', 'expires', 'effect', 'took',
}

local function load(key)
  local values = redis.call('HMGET', key, unpack(FIELDS))
  if not values[1] then return nil end
  local r = { at = key }
  for n, field in ipairs(FIELDS) do r[field] = values[n] end
  return r
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
  return {
    string.sub(r.at, -32), state, r.owner, r.fingerprint, r.fence, r.started, r.finished, r.scope, r.operation,
    r.key, r.claimed, state == 'in-progress' and r.lease, r.expires, has_result and redis.call('HGET', r.at, 'result'),
  }
end

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

-- given as the number of texts that follow: 0 stands for null
local function keep_result(r, count, result)
  if count == '1' then redis.call('HSET', r.at, 'result', result)
  else redis.call('HDEL', r.at, 'result') end
end

local function end_with(r, ttl, count, result)
  r.state = count == '1' and 'completed' or 'tombstone'
  r.expires = now + ttl
  redis.call('HSET', r.at, 'state', r.state, 'expires', r.expires, 'finished', r.finished)
  keep_result(r, count, result)
  redis.call('HDEL', r.at, 'lease', 'steps')
  reschedule(r)
end

local function discard(r)
  r.state = 'released'
  redis.call('HSET', r.at, 'state', r.state, 'started', r.started, 'finished', r.finished)
  redis.call('HDEL', r.at, 'lease', 'result')
  reschedule(r)
end

local function delete(r)
  local id = string.sub(r.at, -32)
  redis.call('DEL', r.at)
  redis.call('ZREM', ids, id)
  redis.call('ZREM', due, id)
end
`;
