--[[
  Read what is recorded of jobs that have ended.

    KEYS[1]  open jobs, for routing in a cluster     ARGV[1]  key prefix     ARGV[2+]  job ids
  Returns for each job false, or
    { tenant, model, key, created, hold, webhook, state, ended, claimed, evidence, ticket, verdict, payment }
  A cell without a value is false. `claimed` and `evidence` are those of done jobs only, `ticket` and
  `verdict` those of jobs with a price only, and `payment` that of jobs that were paid for by themselves.
]]
local prefix = ARGV[1]
local replies = {}
for at = 2, #ARGV do
  local id = ARGV[at]
  local ticket = redis.call('HMGET', prefix .. 'ticket:' .. id, 'tenant', 'model', 'key', 'created', 'hold',
    'webhook', 'payment')
  local ruling = redis.call('HMGET', prefix .. 'ruling:' .. id, 'state', 'ended', 'field', 'epoch')
  if ticket[1] and ruling[1] then
    local row = { ticket[1], ticket[2], ticket[3], ticket[4], ticket[5], ticket[6], ruling[1], ruling[2],
      false, false, false, false, ticket[7] }
    if ruling[1] == 'done' and ruling[3] then
      row[9] = redis.call('HGET', prefix .. 'claims:' .. id, 'e' .. (ruling[4] or ''))
      row[10] = redis.call('HGET', prefix .. 'evidence:' .. id, ruling[3])
    end
    if ticket[5] then
      row[11] = redis.call('HGET', prefix .. 'ticket:' .. id, 'ticket')
      row[12] = redis.call('HGET', prefix .. 'ruling:' .. id, 'verdict')
    end
    replies[#replies + 1] = row
  else
    replies[#replies + 1] = false
  end
end
return replies
