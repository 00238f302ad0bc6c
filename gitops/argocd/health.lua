-- Health of a TradingPlatform for ArgoCD: `obj` is the live resource, the table `hs` is the answer.
-- docs/gitops.md tells where it belongs. ArgoCD opens no string library here.
local hs = { status = "Progressing", message = "waiting for the operator" }

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "being deleted"
end

local status = obj.status
if status == nil or status.conditions == nil then
  return hs
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local function is(name, wanted)
  return conditions[name] ~= nil and conditions[name].status == wanted
end

local function say(name)
  local condition = conditions[name]
  if condition == nil then
    return
  end
  hs.message = condition.reason or ""
  if condition.message ~= nil and condition.message ~= "" then
    hs.message = hs.message .. ": " .. condition.message
  end
end

if obj.metadata.deletionTimestamp ~= nil then
  -- What the deletion waits for, such as volumes that are let go.
  say("Ready")
  return hs
end

if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  hs.message = "the operator has not seen the newest edit yet"
  return hs
end

-- The operator can't get on alone: something is missing, refused or given up.
if is("Stalled", "True") then
  hs.status = "Degraded"
  say("Stalled")
  return hs
end

-- Serving, perhaps, but not settled: a sync wave must wait for the rollout.
if is("Reconciling", "True") or not is("Ready", "True") then
  if is("Reconciling", "True") then
    say("Reconciling")
  else
    say("Ready")
  end
  return hs
end

hs.status = "Healthy"
say("Ready")
-- Worth reading, but nothing that keeps the platform from serving.
if is("AutoscalingActive", "False") then
  say("AutoscalingActive")
elseif is("CertificatesAvailable", "False") then
  say("CertificatesAvailable")
elseif is("Degraded", "True") then
  say("Degraded")
elseif is("BackupHealthy", "False") then
  say("BackupHealthy")
elseif is("CredentialsRotated", "False") then
  say("CredentialsRotated")
elseif is("TLSRequired", "False") then
  say("TLSRequired")
elseif is("VolumesExpandable", "False") then
  say("VolumesExpandable")
end
return hs
