--[[
  Read what is recorded of jobs that have ended.

    KEYS[1]  open jobs, for routing in a cluster     ARGV[1]  key prefix     ARGV[2+]  job ids
  Returns for each job false, or
    { tenant, model, key, created, hold, webhook, state, ended, claimed, evidence, ticket, verdict, payment }
  A cell without a value is false. `claimed` and `evidence` are those of done jobs only, `ticket` and
  `verdict` those of jobs with a price only, and `payment` that of jobs that were paid for by themselves.
]]
local replies = {}
for at = 2, #ARGV do
  local id = ARGV[at]
  local job = redis.call('HMGET', keys.job(id), 'tenant', 'model', 'key', 'created', 'hold', 'webhook',
    'payment')
  local ruling = redis.call('HMGET', keys.ruling(id), 'state', 'ended', 'field', 'epoch')
  if job[1] and ruling[1] then
    local row = { job[1], job[2], job[3], job[4], job[5], job[6], ruling[1], ruling[2],
      false, false, false, false, job[7] }
    if ruling[1] == 'done' and ruling[3] then
      row[9] = redis.call('HGET', keys.claims(id), 'e' .. (ruling[4] or ''))
      row[10] = redis.call('HGET', keys.evidence(id), ruling[3])
    end
    if job[5] then
      row[11] = redis.call('HGET', keys.ticket(id), 'ticket')
      row[12] = redis.call('HGET', keys.ruling(id), 'verdict')
    end
    replies[#replies + 1] = row
  else
    replies[#replies + 1] = false
  end
end
return replies
