--[[
  Included by the scripts that carry out a change with an entry in the audit log. Each entry is a field that
  is written once, which the ACL holds the API to, so that the number is a compare-and-set: of two writers one
  is told what stands there already. The keys of entries are no KEYS, because Redis demands full access for
  those.

    misplaced(number)      before anything is written: nil where the entry has its place, or a reply
        {'taken', number, text}   somebody wrote this number: the first that is free, the text before it
        {'lost'}                  the entry before is not there: this Redis is older than what the caller knew
    append(number, text)   writes the entry
]]
local SEGMENT = 1000
local function segment(n) return keys.audit(string.format('%d', math.floor(n / SEGMENT))) end
local function field(n) return string.format('%d', n % SEGMENT) end

local function misplaced(number)
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
end

local function append(number, text)
  redis.call('HSETNX', segment(number), field(number), text)
end
