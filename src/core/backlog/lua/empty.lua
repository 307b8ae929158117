--[[
  Empty a pool by one more chunk: ask for the jobs to be cancelled that waited in it when its operator said
  so. The sets of its queues are scanned one after the other, again and again, until a whole pass meets none
  of these jobs: so it can go on anywhere, also on another server, and what a pass has missed is met by the
  next. Jobs that came later stay, as do those that a worker has claimed.

  The cost is that of a chunk, whatever waits. While attestors have not ended what was asked before, no more
  is asked: what they look at in time would stand behind it.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  pool   ARGV[3]  jobs of a chunk, about
    ARGV[4]  most wishes that attestors have before them
    ARGV[5]  greatest length of the stream of cancels   ARGV[6]  ms after which a job is looked at
    ARGV[7]  why, as it is kept with the tickets        ARGV[8+] queues of the pool
  Returns a word and the time (ms) at which the operator has asked:
    none   nothing is to be done     more   there is another chunk      full   attestors have enough to do
    again  a pass has ended and met such jobs                           over   a pass has met none
]]
local state = keys.emptying(ARGV[2])
local known = redis.call('HMGET', state, 'asked', 'ended', 'at', 'cursor', 'met', 'cancelled')
local asked = tonumber(known[1])
if not asked or known[2] then return { 'none', known[1] or '0' } end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('XLEN', keys.cancels) + redis.call('ZCOUNT', keys.open, '-inf', now) > tonumber(ARGV[4]) then
  return { 'full', known[1] }
end

-- Whether the job waited when the operator asked and waits still.
local function isMeant(id)
  local created = tonumber(redis.call('HGET', keys.job(id), 'created') or '')
  if not created or created > asked then return false end
  local ruled = redis.call('HMGET', keys.ruling(id), 'state', 'requeued', 'logged')
  local epoch = string.format('%d', tonumber(ruled[2] or 0) + 1)
  return not ruled[1] and not ruled[3] and redis.call('HEXISTS', keys.claims(id), 'e' .. epoch) == 0
end

local sets = {}
for at = 8, #ARGV do
  sets[#sets + 1] = keys.later(ARGV[at])
  for _, lane in ipairs(lanesOf(ARGV[at])) do sets[#sets + 1] = keys.backlog(lane) end
  sets[#sets + 1] = keys.released(ARGV[at])
end
local at, met, cancelled = tonumber(known[3] or 0), tonumber(known[5] or 0), tonumber(known[6] or 0)
local word, cursor = 'more', '0'
if at < #sets then
  local page = redis.call('ZSCAN', sets[at + 1], known[4] or '0', 'COUNT', ARGV[3])
  cursor = page[1]
  for entry = 1, #page[2], 2 do
    local id = page[2][entry]
    if isMeant(id) then
      met = met + 1
      if redis.call('HEXISTS', keys.ticket(id), 'cancel') == 0
        and askCancel(id, now, tonumber(ARGV[6]), ARGV[5], ARGV[7]) == 'asked' then
        cancelled = cancelled + 1
      end
    end
  end
end
if cursor == '0' then at = at + 1 end
if at >= #sets then
  word = met == 0 and 'over' or 'again'
  at, met = 0, 0
end
redis.call('HSET', state, 'at', at, 'cursor', cursor, 'met', met, 'cancelled', cancelled)
return { word, known[1] }
