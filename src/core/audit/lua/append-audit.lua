--[[
  Write one entry of the audit log and carry out the change that it is about, in one step: whoever dies leaves
  both or neither. Each entry is a field that is written once, which the ACL holds the API to, so that the
  number is a compare-and-set: of two writers one is told what stands there already. The keys of entries are
  no KEYS, because Redis demands full access for those.

    KEYS[1]   any key of the shard that the caller may write, for routing in a cluster
    ARGV[1]   key prefix                     ARGV[4]  the change: commands in JSON, each a list of words
    ARGV[2]   number of the entry            ARGV[5]  a key that must not exist, or ""
    ARGV[3]   its text
  Returns
    {'ok'}                      the entry is written and the change is made
    {'exists'}                  the key of ARGV[5] exists: nothing was done
    {'taken', number, text}     somebody wrote this number: the first that is free, the text before it
    {'lost'}                    the entry before is not there: this Redis is older than what the caller knew
]]
local SEGMENT = 1000
local number = tonumber(ARGV[2])
local function segment(n) return keys.audit(string.format('%d', math.floor(n / SEGMENT))) end
local function field(n) return string.format('%d', n % SEGMENT) end

if ARGV[5] ~= '' and redis.call('EXISTS', ARGV[5]) == 1 then return { 'exists' } end
if redis.call('HEXISTS', segment(number), field(number)) == 1 then
  local free = number
  repeat free = free + 1 until redis.call('HEXISTS', segment(free), field(free)) == 0
  return { 'taken', free, redis.call('HGET', segment(free - 1), field(free - 1)) }
end
local base = tonumber(string.match(redis.call('GET', keys.auditBase) or '0', '^%d+')) * SEGMENT
local isFirst = number == 0 or number == base
if not isFirst and redis.call('HEXISTS', segment(number - 1), field(number - 1)) == 0 then
  return { 'lost' }
end
redis.call('HSETNX', segment(number), field(number), ARGV[3])
for _, command in ipairs(cjson.decode(ARGV[4])) do redis.call(unpack(command)) end
return { 'ok' }
