--[[
  Renew the leases that this worker still holds.

    KEYS[1]  lease of the first job, for routing in a cluster
    ARGV[1]  key prefix      ARGV[2]  lease, ms      ARGV[3+] per job: id, lease value
  Returns per job 1, or 2 where its cancellation was asked for, or 0 where the lease has run out or was taken.
  After 2 and 0 the work on the job must stop.
]]
local replies = {}
for at = 3, #ARGV, 2 do
  local key = keys.lease(ARGV[at])
  -- A key of another type is another worker's doing: the lease is lost.
  if redis.pcall('GET', key) == ARGV[at + 1] then
    redis.call('PEXPIRE', key, ARGV[2])
    replies[#replies + 1] = 1 + redis.call('HEXISTS', keys.ticket(ARGV[at]), 'cancel')
  else
    replies[#replies + 1] = 0
  end
end
return replies
