import { CHANGE } from './record.js';

/** ARGV: owner or '', 'absent' or ttl, how many results follow, result. Answers 1 when the verdict counts. */
export const RESOLVE = `${CHANGE}
local owner, verdict, count, result = unpack(ARGV, 1, 4)
local r = load(record)
local state = seen(r)
if state ~= 'uncertain' and state ~= 'parked' then return 0 end
if owner ~= '' and owner ~= r.owner then return 0 end
if verdict ~= 'absent' then
  end_with(r, verdict, count, result)
  return 1
end
if state == 'parked' then r.started, r.finished = 0, 0 end
discard(r)
return 1
`;

export const FIND = `
local r = load(record)
if not seen(r) then return {} end
return { show(r) }
`;

export const FIND_STEPS = `
local r = load(record)
return seen(r) and r.steps
`;

/** Answers 1 when a live record was removed. */
export const FORGET = `${CHANGE}
local r = load(record)
local state = seen(r)
if state == 'in-progress' then return 0 end
if r then delete(r) end
return state and 1 or 0
`;

/**
 * Looks through a part of a shard's records. ARGV: id to begin after or '', ids looked at, records wanted, state,
 * `expired` or '', and the scope, if any. Answers where to go on, '' at the end of the shard, and what was found.
 */
const WALK = `${CHANGE}
local after, chunk, limit, state, scope = unpack(ARGV, 1, 5)
limit = tonumber(limit)
local base = string.sub(record, 1, -33)
local walked = redis.call('ZRANGEBYLEX', ids, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, chunk)
local next = #walked == tonumber(chunk) and walked[#walked] or ''

local function is_wanted(r)
  local is = seen(r)
  if state == 'expired' then
    if not r or is or over_at(r) > now then return false end
  elseif not is or (state ~= '' and state ~= is) then return false end
  return scope == nil or scope == redis.call('HGET', r.at, 'scope')
end
`;

export const LIST = `${WALK}
local shown = {}
for _, id in ipairs(walked) do
  local r = load(base .. id)
  if is_wanted(r) then
    table.insert(shown, show(r, true))
    if #shown == limit then return { id, shown } end
  end
end
return { next, shown }
`;

export const COUNT = `${WALK}
local count = 0
for _, id in ipairs(walked) do
  if is_wanted(load(base .. id)) then count = count + 1 end
end
return { count < limit and next or '', count }
`;

/** How many records of a shard cleanup has to look at. */
export const COUNT_DUE = `return redis.call('ZCOUNT', due, '-inf', now)`;

/** ARGV: how many to look at. Answers how many were deleted. */
export const DELETE_DUE = `${CHANGE}
local base = string.sub(record, 1, -33)
local deleted, later = 0, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local r = load(base .. id)
  local at = r and over_at(r)
  if r and (seen(r) or at > now) then
    table.insert(later, r)
  else
    delete(r or { at = base .. id })
    if r then deleted = deleted + 1 end
  end
end
-- last, because a server without free memory deletes, but writes only after it has
for _, r in ipairs(later) do reschedule(r) end
return deleted
`;

export const PING = `return now`;

/** Answers the server's eviction policy and whether it appends to a file; '' where it does not say. */
export const INSPECT = `
local function told(section, name)
  local info = redis.pcall('INFO', section)
  return type(info) == 'string' and string.match(info, name .. ':([%w-]+)') or ''
end
-- changes nothing, and fails where nothing can be written
redis.call('ZREM', due, '')
return { told('memory', 'maxmemory_policy'), told('persistence', 'aof_enabled') }
`;
