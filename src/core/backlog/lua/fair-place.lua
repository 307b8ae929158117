--[[
  Included by the scripts that enter jobs in a backlog.

  Start-time fair queueing (Goyal, Vin, Chen 1996): each job gets a start tag, and the smallest is released
  first. A tenant's next job starts where its last one ended, in units of cost, but never before the present:
  the smallest tag that waits, or, where none waits, the largest that was released. A flood by one tenant
  therefore waits behind itself only. When nothing waits and everything that was released is claimed, a new
  busy period begins, in which all tenants are equal.

    presentOf(queue)              the present
    startTag(queue, flow, cost)   the tag of the flow's next job, which is charged at once
    saveShares()                  to be called at the end; it writes what the flows were charged
]]
local shares = {}

local function sharesOf(queue)
  if shares[queue] then return shares[queue] end
  local head = redis.call('ZRANGE', keys.backlog(queue), 0, 0, 'WITHSCORES')
  local present = tonumber(head[2])
  if not present and redis.call('EXISTS', keys.released(queue)) == 1 then
    present = tonumber(redis.call('HGET', keys.pace(queue), 'present') or 1)
  elseif not present then
    redis.call('DEL', keys.fairShares(queue))
    present = 1
  end
  shares[queue] = { present = present, finish = {} }
  return shares[queue]
end

local function presentOf(queue) return sharesOf(queue).present end

local function startTag(queue, flow, cost)
  local share = sharesOf(queue)
  local finish = share.finish[flow] or tonumber(redis.call('HGET', keys.fairShares(queue), flow) or 0)
  local start = math.max(share.present, finish)
  share.finish[flow] = start + tonumber(cost)
  return start
end

local function saveShares()
  for queue, share in pairs(shares) do
    for flow, finish in pairs(share.finish) do redis.call('HSET', keys.fairShares(queue), flow, finish) end
  end
end
