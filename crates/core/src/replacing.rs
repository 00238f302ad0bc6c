//! Which pods of a data store are replaced next, where they don't run by its newest template; pure. Kubernetes would
//! go by their numbers, and go on with those that a mended template is for last, so that it leaves them alone
//! (`OnDelete`).

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use crate::{
    kinds::Kind,
    members::{Answers, Member, Members, Role},
    object::Key,
    plan::{POSTGRES, Plan, REDIS, SENTINEL},
    status::workload::Workload,
    step::Observed,
};

/// How long a pod may be unready before that counts: probes fail for a moment where a machine is busy.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// A set of which some pods are old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// Name of the store among components, or of its Sentinels.
    pub component: &'static str,
    /// The set.
    pub set: Key,
    /// Its UID.
    pub uid: String,
    /// Pods that it is to have.
    pub wished: i32,
    /// Pods that its controller counts as ready.
    pub ready: i32,
    /// Pods that its controller counts as old.
    pub outdated: i32,
    /// The pod that leads by its own word, as the Lease of a database tells.
    pub holder: Option<String>,
    /// Whoever leads is to have replicas.
    pub has_replicas: bool,
}

/// A pod of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name, which ends in its number.
    pub name: String,
    /// UID.
    pub uid: String,
    /// It is of the set's newest template.
    pub is_new: bool,
    /// How it is.
    pub state: PodState,
}

/// How a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It serves.
    Ready,
    /// It runs and is not ready, since then: it may lag, start, or hang.
    Unready(Timestamp),
    /// Its server does not run, since then.
    Down(Timestamp),
    /// Its node is not heard of, and it may serve there.
    Away,
    /// It is going.
    Ending,
}

/// What is known of who leads and who keeps up.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'a> {
    /// Servers have nothing to say of it, are out of reach, or are not to be asked.
    Unknown,
    /// They are being asked.
    Awaited,
    /// This.
    Known(&'a Answers),
}

/// What is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// No pod is old.
    Nothing,
    /// These don't serve, so that nobody misses them, and a budget would protect them.
    Delete(Vec<&'a Pod>),
    /// This one serves, and what else disrupts the store is to be minded.
    Evict(&'a Pod),
    /// It waits until this is so.
    Wait(String),
}

/// The sets with old pods, among those that are as they should be.
#[must_use]
pub fn rolling(plan: &Plan, as_wished: &[Key], live: &Observed) -> Vec<Rolling> {
    let of = |component| -> Option<Rolling> {
        let set = plan.identity.key(Kind::StatefulSet, component);
        let child = live.get(&set).filter(|_| as_wished.contains(&set))?;
        let workload: &Workload = child.workload.as_ref()?;
        let is_rolling = child.is_of(&plan.identity) && workload.observed && workload.outdated > 0;
        let lease = live.get(&plan.identity.key(Kind::Lease, POSTGRES)).filter(|_| component == POSTGRES);
        let holder = lease.and_then(|lease| Some(lease.holder.as_ref()?.split_once('/')?.0.to_owned()));
        is_rolling.then(|| Rolling {
            component,
            set,
            uid: child.uid.clone(),
            wished: workload.desired,
            ready: workload.ready,
            outdated: workload.outdated,
            holder,
            has_replicas: has_replicas(plan, component),
        })
    };
    [REDIS, SENTINEL, POSTGRES].into_iter().filter_map(of).collect()
}

fn has_replicas(plan: &Plan, component: &str) -> bool {
    let redis = plan.redis.as_ref().filter(|_| component == REDIS);
    let of_redis = redis.is_some_and(|redis| match &redis.cluster {
        Some(cluster) => cluster.replicas_per_shard > 0,
        None => redis.servers > 1,
    });
    let database = plan.postgres.as_ref().filter(|_| component == POSTGRES);
    let servers = database.and_then(|database| database.servers.as_ref());
    of_redis || servers.is_some_and(|servers| servers.instances > 1)
}

impl Rolling {
    /// What its servers say; `members` are `None` where nobody asks, and `is_out_of_reach` says that nobody answers
    /// time and again.
    #[must_use]
    pub fn standing<'a>(
        &self,
        plan: &Plan,
        members: Option<&'a Members>,
        is_out_of_reach: bool,
    ) -> Standing<'a> {
        // Sentinels are alike.
        let Some(members) = members.filter(|_| plan.scope.agents && self.component != SENTINEL) else {
            return Standing::Unknown;
        };
        match members.of(self.component) {
            Some(answers) if answers.current && answers.is_heard() => Standing::Known(answers),
            Some(answers) if !answers.is_heard() && is_out_of_reach => Standing::Unknown,
            _ => Standing::Awaited,
        }
    }

    /// Which pods are next: those whose server does not run, then one at a time: who is behind, silent or unready, who
    /// follows, and who leads. Where nobody knows, the highest number goes first.
    #[must_use]
    pub fn next<'a>(&self, pods: &'a [Pod], standing: Standing<'_>, now: Timestamp) -> Next<'a> {
        let old: Vec<&Pod> = pods.iter().filter(|pod| !pod.is_new).collect();
        if old.is_empty() {
            return Next::Nothing;
        }
        if let Some(next) = fallen(pods, &old, now) {
            return next;
        }
        let answers = match standing {
            Standing::Awaited if self.wished > 1 => {
                return Next::Wait("its servers have said how they are".to_owned());
            }
            Standing::Known(answers) => Some(answers),
            Standing::Awaited | Standing::Unknown => None,
        };
        let view = View { rolling: self, answers };
        let mut candidates = old;
        candidates.retain(|pod| matches!(pod.state, PodState::Ready | PodState::Unready(_)));
        candidates.sort_by_key(|pod| (view.leads(pod), !view.is_lame(pod), Reverse(number(&pod.name))));
        let first = candidates.first().copied();
        // Other old ones that are lame are as little of use.
        let goes_alone = first.is_some_and(|first| view.is_lame(first) && !view.leads(first));
        let holds_up = |pod: &&Pod| match pod.state {
            PodState::Ready | PodState::Unready(_) => view.is_lame(pod) && (pod.is_new || !goes_alone),
            PodState::Down(_) | PodState::Away | PodState::Ending => true,
        };
        let mut others = pods.iter().filter(|pod| first.is_none_or(|first| first.name != pod.name));
        if let Some(other) = others.find(holds_up) {
            return Next::Wait(other.is_awaited());
        }
        let Some(first) = first else { return Next::Nothing };
        let count = |some: usize| i32::try_from(some).unwrap_or(i32::MAX);
        let ready = count(pods.iter().filter(|pod| pod.state == PodState::Ready).count());
        if count(pods.len()) < self.wished || ready != self.ready {
            return Next::Wait("its controller has made and counted all pods".to_owned());
        }
        if view.leads(first)
            && let Some(words) = view.lacks_heir(first)
        {
            return Next::Wait(words);
        }
        match first.state {
            PodState::Unready(since) if now.duration_since(since) < PATIENCE => {
                Next::Wait(first.is_awaited())
            }
            PodState::Unready(_) => Next::Delete(vec![first]),
            _ => Next::Evict(first),
        }
    }
}

/// What is next where the servers of old pods don't run: they go together, as they may need each other. But a
/// template that can't run takes no more than one pod.
fn fallen<'a>(pods: &[Pod], old: &[&'a Pod], now: Timestamp) -> Option<Next<'a>> {
    let since = |pod: &Pod| match pod.state {
        PodState::Down(since) => Some(since),
        _ => None,
    };
    let fallen: Vec<&Pod> = old.iter().copied().filter(|pod| since(pod).is_some()).collect();
    let soon = fallen.iter().find(|pod| since(pod).is_some_and(|since| now.duration_since(since) < PATIENCE));
    let new = pods.iter().find(|pod| pod.is_new && pod.state != PodState::Ready);
    match (fallen.is_empty(), new, soon) {
        (true, ..) => None,
        (false, Some(new), _) => Some(Next::Wait(new.is_awaited())),
        (false, None, Some(soon)) => Some(Next::Wait(soon.is_awaited())),
        (false, None, None) => Some(Next::Delete(fallen)),
    }
}

/// A set and what its servers say.
struct View<'a> {
    rolling: &'a Rolling,
    answers: Option<&'a Answers>,
}

impl View<'_> {
    fn leads(&self, pod: &Pod) -> bool {
        let says_so = self.answers.is_some_and(|answers| {
            answers.heard().any(|(name, member)| {
                *name == pod.name && member.role == Role::Primary
                    || member.follows.as_ref() == Some(&pod.name)
            })
        });
        says_so || self.rolling.holder.as_ref() == Some(&pod.name)
    }

    /// Nobody could rely on it.
    fn is_lame(&self, pod: &Pod) -> bool {
        let told = self.answers.and_then(|answers| answers.servers.get(&pod.name));
        let is_lame = told.is_some_and(|told| {
            told.as_ref().is_none_or(|member| {
                let lags = member.role == Role::Replica && member.in_step != Some(true);
                lags || member.role == Role::Unknown || member.failure.is_some()
            })
        });
        is_lame || pod.state != PodState::Ready
    }

    /// What is still to be so before somebody who leads may go.
    fn lacks_heir(&self, leader: &Pod) -> Option<String> {
        let answers = self.answers?;
        if answers.unserved() > 0 {
            return Some("all slots have a server".to_owned());
        }
        let told = answers.servers.get(&leader.name)?.as_ref();
        let has_nothing =
            told.and_then(|member| member.cluster.as_ref()).is_some_and(|view| !view.owns_slots);
        if !self.rolling.has_replicas || has_nothing {
            return None;
        }
        let keeps_up = |name: &String, member: &Member| {
            *name != leader.name && member.role == Role::Replica && member.in_step == Some(true)
        };
        // A server may not know the pod behind an address.
        let is_known = answers.heard().any(|(_, member)| member.follows.is_some());
        let has_heir = answers.heard().any(|(name, member)| {
            keeps_up(name, member) && (!is_known || member.follows.as_ref() == Some(&leader.name))
        });
        (!has_heir).then(|| format!("a replica of {} keeps up", leader.name))
    }
}

impl Pod {
    /// What has to be so before others go.
    fn is_awaited(&self) -> String {
        let Self { name, .. } = self;
        match self.state {
            PodState::Ready => format!("{name} answers and keeps up"),
            PodState::Unready(_) | PodState::Down(_) => format!("{name} is ready"),
            PodState::Away => format!("the node of {name} is heard of"),
            PodState::Ending => format!("{name} has ended"),
        }
    }
}

fn number(pod: &str) -> u32 {
    pod.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
