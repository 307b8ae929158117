--[[
  Included by the scripts that admit jobs, decide their ends, and enter them in the books.

  What a job may still cost stands in the field `reserve` of its hash, and is part of what its tenant's
  account holds. Every script that changes one changes the other in the same step: the account holds the sum
  of the reserves, whatever process dies, and also in a Redis that lost its last moments.

    reserve  key currency money tokens jobs taken quota quota
      key       whose budget it is beside the tenant's
      currency  of the money, or "-"
      money     millionths;  tokens: as many as may be used;  jobs: 1 while the job is open
      taken     tokens taken from the allowance per minute, or "-" once that is corrected
      quota     tokens per minute of the tenant, and of the key; 0 for none

    settle(id, tenant, money, tokens, used)  the end is decided: it costs this much, and what was held beyond
                                             goes back. `used` corrects the allowance per minute, where known
    payout(id, tenant)                       the end is entered: nothing is held any more
]]
-- The window of allowances per minute, as in rate-limits.ts.
local ALLOWANCE_MS = 60000

local function whole(amount) return string.format('%.0f', amount) end

-- Adds to what an account holds, of the tenant and of the key.
local function hold(tenant, key, unit, amount)
  if amount == 0 then return end
  local account = keys.account(tenant)
  redis.call('HINCRBY', account, unit .. ':held', whole(amount))
  redis.call('HINCRBY', account, key .. ':' .. unit .. ':held', whole(amount))
end

local function reserveOf(id)
  local key, currency, money, tokens, jobs, taken, ofTenant, ofKey = string.match(
    redis.call('HGET', keys.job(id), 'reserve') or '', '^(%S+) (%S+) (%d+) (%d+) (%d+) (%S+) (%d+) (%d+)$')
  if not key then return nil end
  return { key = key, currency = currency, money = tonumber(money), tokens = tonumber(tokens),
    jobs = tonumber(jobs), taken = tonumber(taken), ofTenant = tonumber(ofTenant), ofKey = tonumber(ofKey) }
end

-- Gives back to an allowance per minute what was taken and not used, or takes what was used beyond it.
local function correct(whose, id, quota, more)
  if quota == 0 or more == 0 then return end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + time[2] / 1000
  local allowance = keys.limit(whose, id, 'tokens')
  local full = math.max(tonumber(redis.call('GET', allowance) or 0), now) + more * ALLOWANCE_MS / quota
  redis.call('SET', allowance, string.format('%.3f', full), 'PX', math.ceil(math.max(1, full - now)))
end

local function settle(id, tenant, money, tokens, used)
  local was = reserveOf(id)
  if not was then return end
  hold(tenant, was.key, was.currency, math.min(money, was.money) - was.money)
  hold(tenant, was.key, 'tokens', math.min(tokens, was.tokens) - was.tokens)
  hold(tenant, was.key, 'jobs', -was.jobs)
  if was.taken and used then
    correct('tenant', tenant, was.ofTenant, used - was.taken)
    correct('key', was.key, was.ofKey, used - was.taken)
  end
  redis.call('HSET', keys.job(id), 'reserve', table.concat({ was.key, was.currency,
    whole(math.min(money, was.money)), whole(math.min(tokens, was.tokens)), '0', '-', '0', '0' }, ' '))
end

local function payout(id, tenant)
  local was = reserveOf(id)
  if not was then return nil end
  hold(tenant, was.key, was.currency, -was.money)
  hold(tenant, was.key, 'tokens', -was.tokens)
  hold(tenant, was.key, 'jobs', -was.jobs)
  redis.call('HDEL', keys.job(id), 'reserve')
  return was
end
