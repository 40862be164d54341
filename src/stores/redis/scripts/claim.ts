/** ARGV: owner, fingerprint, lease, ttl, effect ('1' or ''), number of the shard, then name and value of each text. */
export const CLAIM = `
local owner, fingerprint, lease, ttl, effect, shard = unpack(ARGV, 1, 6)
local r = load(record)
local state = seen(r)
if state == 'in-progress' and r.owner == owner then
  return { 'claimed', r.fence, r.started, r.took or '', r.steps, now }
end
if state then return { 'held', show(r), now } end

local before = r and (r.state == 'in-progress' or r.state == 'released') and r or { started = 0, finished = 0 }
local took = before.state == 'in-progress' and '1' or ''

-- by the clock, so that it goes on rising when the server has lost what it had counted
local at = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('SET', fence, string.format('%.0f', at), 'GET') or 0)
if last >= at then
  at = last + 1
  redis.call('SET', fence, string.format('%.0f', at))
end

if r then
  redis.call('HDEL', record, 'expires', 'result', 'scope', 'operation', 'key', 'effect', 'took')
  if r ~= before then redis.call('HDEL', record, 'steps') end
end
local number = string.format('%.0f', at) .. shard
local started = before.started + 1
local keep = now + ttl
local fields = {
  'state', 'in-progress', 'owner', owner, 'fingerprint', fingerprint, 'fence', number, 'started', started,
  'finished', before.finished, 'claimed', now, 'keep', keep, 'lease', now + lease, unpack(ARGV, 7),
}
if effect == '1' then fields[#fields + 1] = 'effect' fields[#fields + 1] = '1' end
if took == '1' then fields[#fields + 1] = 'took' fields[#fields + 1] = '1' end
redis.call('HSET', record, unpack(fields))
local id = string.sub(record, -32)
if not r then redis.call('ZADD', ids, 0, id) end
redis.call('ZADD', due, keep, id)
return { 'claimed', number, started, took, before.steps or false, now }
`;
