import { CHANGE } from './record.js';

/** What the owner of a claim writes. ARGV begins with the owner; answers `applied`, or `lost` with the live record. */
const OWNER = `${CHANGE}
local r = load(record)
local state = seen(r)
local is_mine = r and r.state == 'in-progress' and r.owner == ARGV[1]
local is_owned = is_mine and state == 'in-progress'
-- also when its lease ran out after its effect had begun: its owner may know more
local may_settle = is_mine and state ~= nil

local function lost()
  return state and { 'lost', show(r) } or { 'lost' }
end
`;

/** ARGV: owner, lease */
export const RENEW = `${OWNER}
if not is_owned then return lost() end
redis.call('HSET', record, 'lease', now + ARGV[2])
return { 'applied' }
`;

/** ARGV: owner, ttl, how many results follow, result. Another outcome of the same owner is a verdict, and it stands. */
export const COMPLETE = `${OWNER}
if may_settle then
  r.finished = r.finished + 1
  end_with(r, ARGV[2], ARGV[3], ARGV[4])
  return { 'applied' }
end
local is_outcome = state == 'completed' or state == 'tombstone'
if is_outcome and r.owner == ARGV[1] and (redis.call('HGET', record, 'result') or nil) == ARGV[4] then
  return { 'applied' }
end
return lost()
`;

/** ARGV: owner, '1' when the attempt counts */
export const RELEASE = `${OWNER}
if not may_settle then return lost() end
if ARGV[2] == '1' then r.finished = r.finished + 1 else r.started = r.started - 1 end
discard(r)
return { 'applied' }
`;

/** ARGV: owner, how many results follow, result */
export const PARK = `${OWNER}
if not may_settle then return lost() end
r.state = 'parked'
redis.call('HSET', record, 'state', r.state, 'finished', r.finished + 1,
  unpack(ARGV[2] == '1' and { 'result', ARGV[3] } or {}))
reschedule(r)
return { 'applied' }
`;

/** ARGV: owner */
export const MARK_UNCERTAIN = `${OWNER}
if not may_settle then return lost() end
r.state = 'uncertain'
redis.call('HSET', record, 'state', r.state)
reschedule(r)
return { 'applied' }
`;

/** ARGV: owner */
export const START_EFFECT = `${OWNER}
if not is_owned then return lost() end
redis.call('HSET', record, 'effect', '1')
return { 'applied' }
`;

/** ARGV: owner, steps */
export const KEEP_STEPS = `${OWNER}
if not is_owned then return lost() end
redis.call('HSET', record, 'steps', ARGV[2])
return { 'applied' }
`;
