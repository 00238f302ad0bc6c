//! Stage five, pure: what is reported. Nothing changes without a cause.

pub mod backup;
pub mod conditions;
pub(crate) mod stores;
pub mod workload;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use trading_api::{
    deletion::Store,
    status::{ComponentStatus, Endpoint, TradingPlatformStatus},
};

use crate::{
    credentials,
    inputs::Reference,
    kinds::Kind,
    plan::{
        CertificatePlan, Host, POOLER, POSTGRES, POSTGRES_RO, Plan, REDIS, REDIS_PORT, RUNTIME, SENTINEL,
        SENTINEL_PORT, STORES,
    },
    problem::Problem,
    redis_password::{self, Stage},
    resolve::{network::ADDRESSES_UNKNOWN, redis::EVICTION_RISK, references::MISSING},
    step::{Child, Observed, Steps, servers},
    tls,
};
use conditions::Verdict;
use workload::Workload;

/// States of a component.
pub mod state {
    /// All pods are there, ready and new.
    pub const READY: &str = "Ready";
    /// Pods come, go or are replaced.
    pub const PROGRESSING: &str = "Progressing";
    /// Something must be there first.
    pub const WAITING: &str = "Waiting";
    /// Its controller gave up; of a store's server, that it can't run.
    pub const FAILED: &str = "Failed";
    /// Of a store's server: it does not keep up with whom it follows.
    pub const OUT_OF_STEP: &str = "OutOfStep";
    /// Of a store's server: it does not answer, though others do.
    pub const SILENT: &str = "Silent";
}

/// The status of a platform.
#[must_use]
pub fn status(
    plan: &Plan,
    steps: &Steps,
    observed: &Observed,
    previous: Option<&TradingPlatformStatus>,
    now: Timestamp,
) -> TradingPlatformStatus {
    let before = previous.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let told = stores::Told::of(plan, observed, before);
    let mut problems: Vec<Problem> =
        steps.problems.iter().chain(&plan.problems).chain(&told.problems).cloned().collect();
    let backup = backup::told(plan, observed, before);
    problems.extend(backup.iter().filter_map(|told| told.problem.clone()));
    // What is known of the cause says more.
    let is_explained = |hindered: &&Problem| problems.iter().any(|it| it.component == hindered.component);
    let hindered: Vec<Problem> = steps.hindered.iter().filter(|it| !is_explained(it)).cloned().collect();
    problems.extend(hindered);
    let components = components(plan, &problems, steps, observed, previous);
    let ready = components.iter().filter(|component| component.state == state::READY).count();
    let facts = conditions::Facts {
        generation: plan.identity.generation,
        version: &plan.version,
        components: &components,
        problems: &problems,
        autoscaling: autoscaling(observed),
        certificates: certificates(plan),
        needs_add_ons: steps.needs_add_ons,
        volumes: steps.volumes.as_ref(),
        credentials: credentials(plan, steps, before),
        tls: steps.tls.as_ref().map(|stage| encryption(stage, before)),
        nearly_full: told.nearly_full,
        backup: backup.map(|told| told.verdict),
        awaited: told.awaited,
    };
    TradingPlatformStatus {
        observed_generation: Some(plan.identity.generation),
        version: Some(plan.version.clone()),
        summary: Some(format!("{ready}/{}", components.len())),
        conditions: conditions::conditions(&facts, before, now),
        endpoints: endpoints(plan),
        effective: plan.effective.clone(),
        // Reckoned from the objects and the prices, see `cost`.
        estimated_monthly_cost: previous.and_then(|status| status.estimated_monthly_cost.clone()),
        components,
    }
}

/// How far changes of passwords are.
fn credentials(plan: &Plan, steps: &Steps, before: &[Condition]) -> Option<Verdict> {
    let login = steps.login.as_ref().and_then(|stage| credentials::verdict(plan, stage));
    let was_done = before.iter().any(|it| it.type_ == "CredentialsRotated" && it.status == "True");
    let password = steps.redis_password.as_ref().map(|stage| match stage {
        // They said so once. That one of them is silent now, or was not asked yet, is not about passwords.
        Stage::Refusing(_) if was_done => &Stage::Done,
        stage => stage,
    });
    let password = password.and_then(|stage| redis_password::verdict(plan, stage));
    match (login, password) {
        (Some(login), Some(password)) => Some(login.and(password)),
        (login, password) => login.or(password),
    }
}

/// How far TLS to the database is.
fn encryption(stage: &tls::Stage, before: &[Condition]) -> Verdict {
    let was_done = before.iter().any(|it| it.type_ == conditions::TLS_REQUIRED && it.status == "True");
    tls::verdict(match stage {
        // They said so once, see above.
        tls::Stage::Refusing(_) if was_done => &tls::Stage::Done,
        stage => stage,
    })
}

/// Whether a problem leaves the platform whole: a warning.
#[must_use]
pub fn is_warning(problem: &Problem) -> bool {
    problem.warning || matches!(problem.reason, EVICTION_RISK | ADDRESSES_UNKNOWN)
}

fn components(
    plan: &Plan,
    problems: &[Problem],
    steps: &Steps,
    observed: &Observed,
    previous: Option<&TradingPlatformStatus>,
) -> Vec<ComponentStatus> {
    let of = |name: &str, kind: Kind| {
        let child = observed.get(&plan.identity.key(kind, name));
        let live = child.filter(|child| child.is_of(&plan.identity));
        let live = live.or_else(|| servers(&plan.identity, observed, name));
        let problem = problems.iter().find(|p| !is_warning(p) && p.component.as_deref() == Some(name));
        let workload = live.and_then(|child| child.workload.as_ref());
        // What comes by itself.
        let waits = |p: &&Problem| p.reason == MISSING && p.component.as_deref() == Some(name);
        let mut found = component(name, kind, workload, problem, problems.iter().find(waits));
        // Of a set that was made anew around its pods nothing is said until its controller has looked at them.
        if workload.is_some_and(|workload| !workload.observed && workload.ready == 0) {
            let mut known = previous.iter().flat_map(|status| &status.components);
            let before = known.find(|before| before.name == name && before.kind == found.kind);
            found.ready = before.map_or(0, |before| before.ready.min(found.desired));
        }
        let before = previous.iter().flat_map(|status| &status.components).find(|it| it.name == name);
        if found.state == state::PROGRESSING {
            let hindered = steps.hindered.iter().find(|it| it.component.as_deref() == Some(name));
            let hindered = hindered.map(|hindered| hindered.message.clone());
            let waits = steps.replacing.get(name).map(|words| format!("the next one goes when {words}"));
            let all = [found.message.take(), hindered, waits];
            found.message = Some(all.into_iter().flatten().collect::<Vec<_>>().join("; "));
        }
        stores::tell(plan, &mut found, before);
        found
    };
    // A store that was removed without acknowledgement still runs, and is shown.
    let still_runs = |name: &str| {
        servers(&plan.identity, observed, name).is_some()
            && problems.iter().any(|problem| problem.component.as_deref() == Some(name))
    };
    let stores = STORES.into_iter().filter(|(store, name, _)| plan.runs(*store) || still_runs(name));
    let sentinels = plan.redis.iter().filter_map(|redis| redis.sentinel.as_ref());
    let pooler = plan.postgres.iter().filter(|database| database.pooler.is_some());
    let pooler = pooler.map(|it| if it.cluster.is_some() { Kind::Pooler } else { Kind::Deployment });
    plan.components
        .iter()
        .map(|component| of(&component.name, Kind::Deployment))
        .chain(stores.map(|(store, name, _)| of(name, kind_of(plan, observed, store, name))))
        .chain(sentinels.map(|_| of(SENTINEL, Kind::StatefulSet)))
        .chain(pooler.map(|kind| of(POOLER, kind)))
        .chain(plan.runtime.iter().map(|_| of(RUNTIME, Kind::DaemonSet)))
        .collect()
}

/// Kind of the servers of a store, as it is wished or as it still runs.
fn kind_of(plan: &Plan, observed: &Observed, store: Store, name: &str) -> Kind {
    let wished = plan.stores().into_iter().find(|facts| facts.store == store).map(|facts| facts.kind);
    let live = || servers(&plan.identity, observed, name).map(|child| child.kind);
    wished.or_else(live).unwrap_or(Kind::StatefulSet)
}

fn component(
    name: &str,
    kind: Kind,
    workload: Option<&Workload>,
    problem: Option<&Problem>,
    waits: Option<&Problem>,
) -> ComponentStatus {
    let absent = Workload::default();
    let live = workload.unwrap_or(&absent);
    let (state, message) = match (workload, problem) {
        (_, Some(problem)) => (state::WAITING, Some(problem.message.clone())),
        (None, None) => match waits {
            Some(waits) => (state::WAITING, Some(waits.message.clone())),
            None => (state::PROGRESSING, Some(format!("{kind} is being made"))),
        },
        (Some(live), None) => match &live.failure {
            Some(failure) => (state::FAILED, Some(failure.clone())),
            None if live.is_settled() => (state::READY, live.says.clone()),
            None if !live.observed => (state::PROGRESSING, Some("waiting for its controller".to_owned())),
            None if live.ready < live.desired => {
                let ready = format!("{} of {} pods ready", live.ready, live.desired);
                let says = live.says.iter().map(|says| format!(", {says}"));
                (state::PROGRESSING, Some(ready + &says.collect::<String>()))
            }
            None => {
                let says = live.says.clone();
                (state::PROGRESSING, says.or_else(|| Some("pods are being replaced".to_owned())))
            }
        },
    };
    ComponentStatus {
        name: name.to_owned(),
        kind: kind.to_string(),
        state: state.to_owned(),
        desired: live.desired,
        ready: live.ready,
        version: live.version.clone().filter(|_| live.rolled_out && live.observed),
        message,
        members: Vec::new(),
    }
}

/// Which autoscalers don't scale, why, and what tells more; `None` where there is no autoscaler.
fn autoscaling(observed: &Observed) -> Option<Vec<String>> {
    let autoscalers: Vec<_> =
        observed.values().filter_map(|child| Some((child, child.autoscaler.as_ref()?))).collect();
    (!autoscalers.is_empty()).then(|| {
        autoscalers
            .into_iter()
            .filter_map(|(child, autoscaler)| {
                let reason = autoscaler.failure.as_ref()?;
                let kind = if child.kind == Kind::ScaledObject { "scaledobject" } else { "hpa" };
                let Child { component, name, namespace, .. } = child;
                Some(format!("{component}: {reason} (kubectl -n {namespace} describe {kind} {name})"))
            })
            .collect()
    })
}

/// Which certificates are missing and where they come from; `None` where the platform uses none.
fn certificates(plan: &Plan) -> Option<Vec<String>> {
    let ingress = plan.ingress.as_ref().filter(|ingress| !ingress.certificates.is_empty())?;
    let missing = ingress.certificates.iter().filter(|certificate| !certificate.is_there);
    Some(
        missing
            .map(|CertificatePlan { reference: Reference { namespace, name, .. }, .. }| {
                match &ingress.cluster_issuer {
                    Some(issuer) => format!(
                        "cert-manager makes Secret {name:?} by ClusterIssuer {issuer:?} (kubectl -n {namespace} describe certificate {name})"
                    ),
                    None => format!(
                        "Secret {name:?} has to hold tls.crt and tls.key (kubectl -n {namespace} create secret tls {name} --cert=FILE --key=FILE)"
                    ),
                }
            })
            .collect(),
    )
}

fn endpoints(plan: &Plan) -> Vec<Endpoint> {
    let identity = &plan.identity;
    let inside = |name: &str, port: i32| Endpoint {
        name: name.to_owned(),
        address: format!("{}.{}.svc:{port}", identity.child(name), identity.namespace_of(name)),
    };
    let services = plan
        .components
        .iter()
        .filter_map(|component| Some(inside(&component.name, component.main_port()?.container_port)));
    let outside_host = |name: &str, host: &Host, port: i32| Endpoint {
        name: name.to_owned(),
        address: format!("{host}:{port}"),
    };
    let redis = plan.redis.iter().map(|redis| match redis.sentinel {
        Some(_) => inside(SENTINEL, SENTINEL_PORT),
        None => inside(REDIS, REDIS_PORT),
    });
    let elsewhere = plan.external_redis.iter().map(|redis| outside_host(REDIS, &redis.host, redis.port));
    let redis = redis.chain(elsewhere);
    let postgres = plan.postgres.iter().flat_map(|database| {
        let at = |name: &str, host: &Host| match (database.service(), name) {
            (Some(service), POSTGRES) => Endpoint { name: name.to_owned(), ..inside(service, database.port) },
            (Some(_), name) => inside(name, database.port),
            (None, name) => outside_host(name, host, database.port),
        };
        let replicas = database.read_only_host.as_ref().map(|host| at(POSTGRES_RO, host));
        let pooler = database.pooler.as_ref().map(|_| inside(POOLER, database.port));
        [at(POSTGRES, &database.host)].into_iter().chain(replicas).chain(pooler)
    });
    let runtime = plan.runtime.iter().map(|runtime| inside(RUNTIME, runtime.port));
    let outside = plan.ingress.iter().flat_map(|ingress| {
        let scheme = match ingress.is_https() {
            Some(true) => "https://",
            Some(false) => "http://",
            None => "",
        };
        ingress
            .hosts
            .iter()
            .map(move |(host, _)| Endpoint { name: host.clone(), address: format!("{scheme}{host}") })
    });
    services.chain(redis).chain(postgres).chain(runtime).chain(outside).collect()
}
