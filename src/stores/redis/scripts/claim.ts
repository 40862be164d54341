/** ARGV: owner, fingerprint, lease, ttl, effect ('1' or ''), number of the shard, then name and value of each text. */
export const CLAIM = `
local owner, fingerprint, lease, ttl, effect, shard = unpack(ARGV, 1, 6)
local r = load(record)

local function claimed()
  return {
    'claimed', r.fence, r.started, r.took or '', redis.call('HGET', record, 'steps'), now,
  }
end

local state = seen(r)
if state == 'in-progress' and r.owner == owner then return claimed() end
if state then return { 'held', show(r), now } end

local before = r and (r.state == 'in-progress' or r.state == 'released') and r
local first = not r

-- by the clock, so that it goes on rising when the server has lost what it had counted
local at = math.max(server_time(), (tonumber(redis.call('GET', fence) or 0)) + 1)
redis.call('SET', fence, string.format('%.0f', at))

if not first then
  redis.call('HDEL', record, 'expires', 'result', 'scope', 'operation', 'key', 'effect', 'took')
  if not before then redis.call('HDEL', record, 'steps') end
end
r = {
  at = record, state = 'in-progress', owner = owner, fence = string.format('%.0f', at) .. shard,
  started = (before and before.started or 0) + 1, finished = before and before.finished or 0,
  lease = now + lease, keep = now + ttl, took = before and before.state == 'in-progress' and '1' or nil,
}
local fields = {
  'state', r.state, 'owner', owner, 'fingerprint', fingerprint, 'fence', r.fence, 'started', r.started,
  'finished', r.finished, 'claimed', now, 'keep', r.keep, 'lease', r.lease, unpack(ARGV, 7),
}
if effect == '1' then table.insert(fields, 'effect') table.insert(fields, '1') end
if r.took then table.insert(fields, 'took') table.insert(fields, '1') end
redis.call('HSET', record, unpack(fields))
if first then redis.call('ZADD', ids, 0, string.sub(record, -32)) end
redis.call('ZADD', due, r.keep, string.sub(record, -32))
return claimed()
`;
