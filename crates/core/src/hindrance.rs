//! Why pods of a component are not ready although there was time enough, from what Kubernetes says of them, and
//! what to do; pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};

use crate::{
    kinds::Kind,
    plan::{POOLER, Plan, RUNTIME, Role, SENTINEL},
    problem::Problem,
    status::{stores::in_short, workload::Workload},
    step::Observed,
};

/// Most characters of what the scheduler or the kubelet says.
const QUOTED: usize = 300;

/// Components with fewer ready pods than they should have, whose controllers know of their last edit. While a
/// Deployment is rolled out, pods of before may be enough; those of stores are replaced by the operator, which sees
/// which of them are ready.
#[must_use]
pub fn lacking(plan: &Plan, live: &Observed) -> BTreeSet<String> {
    let lacks = live.values().filter(|child| {
        let lacks = |workload: &Workload| {
            let is_rolling = child.kind != Kind::StatefulSet && !workload.rolled_out;
            workload.observed && (workload.ready < workload.desired || is_rolling)
        };
        matches!(child.kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet)
            && child.is_of(&plan.identity)
            && !child.deleting
            && child.workload.as_ref().is_some_and(lacks)
    });
    lacks.map(|child| child.component.clone()).collect()
}

/// What hinders these pods of a component, where it is something that a person has to look after. The platform may
/// serve all the same.
#[must_use]
pub fn problem(plan: &Plan, component: &str, pods: &[Pod]) -> Option<Problem> {
    let mut found: Vec<(Hindrance, &str)> =
        pods.iter().filter_map(|pod| Some((of(pod)?, pod.metadata.name.as_deref()?))).collect();
    found.sort();
    let (first, _) = found.first()?.clone();
    let alike = found.iter().filter(|(hindrance, _)| hindrance.reason() == first.reason());
    let names: Vec<&str> = alike.map(|(_, name)| *name).collect();
    let at = Place {
        pods: in_short(&names),
        first: names.first()?,
        field: field(plan, component),
        namespace: plan.identity.namespace_of(component),
    };
    Some(Problem::of(component, first.reason(), first.in_words(&at)).as_warning())
}

/// In the order in which they stand in each other's way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Hindrance {
    NoNode { why: String },
    NoImage { image: String },
    Refused { container: String, why: String },
    Memory { container: String },
    Crashes { container: String },
}

struct Place<'a> {
    pods: String,
    first: &'a str,
    /// Where the resource says how such pods are; `None` where it does not.
    field: Option<String>,
    namespace: &'a str,
}

impl Hindrance {
    fn reason(&self) -> &'static str {
        match self {
            Self::NoNode { .. } => "PodsUnschedulable",
            Self::NoImage { .. } => "ImageUnavailable",
            Self::Refused { .. } => "ContainerRefused",
            Self::Memory { .. } => "OutOfMemory",
            Self::Crashes { .. } => "ContainerCrashes",
        }
    }

    fn in_words(&self, at: &Place) -> String {
        let Place { pods, first, field, namespace } = at;
        let describe = format!("kubectl -n {namespace} describe pod {first}");
        match self {
            Self::NoNode { why } => {
                format!("no node for {pods}: {why}: {}", remedies(why, field.as_deref()).join(", or "))
            }
            Self::NoImage { image } => {
                let named = field.as_ref().map(|field| format!(" ({field}.image)")).unwrap_or_default();
                format!(
                    "nodes can't pull image {image} for {pods}: see that it exists{named}, and that image.pullSecrets lets them ({describe})"
                )
            }
            Self::Refused { container, why } => {
                format!(
                    "container {container} of {pods} can't be started: {why}: mend what it names ({describe})"
                )
            }
            Self::Memory { container } => {
                let remedy = match field {
                    Some(field) => format!("raise {field}.resources.limits.memory"),
                    None => describe,
                };
                format!("container {container} of {pods} ended for lack of memory: {remedy}")
            }
            Self::Crashes { container } => format!(
                "container {container} of {pods} ends again and again: kubectl -n {namespace} logs {first} -c {container} --previous"
            ),
        }
    }
}

/// What the scheduler says, as the scheduler of Kubernetes 1.31 to 1.36 words it.
fn remedies(why: &str, field: Option<&str>) -> Vec<String> {
    let of_resource = |field: &str| {
        vec![
            ("Insufficient", format!("ask for less ({field}.resources.requests)")),
            ("anti-affinity", format!("let its pods share nodes ({field}.antiAffinity.mode: Preferred)")),
            ("affinity/selector", format!("ask less of nodes ({field}.nodeSelector, {field}.affinity)")),
            ("untolerated taint", format!("tolerate their taints ({field}.tolerations)")),
            ("topology spread", format!("spread less evenly ({field}.topologySpreadConstraints)")),
        ]
    };
    let claims = || "see what its volume claims wait for (kubectl describe pvc)".to_owned();
    let known = field.map(of_resource).unwrap_or_default();
    let known = known.into_iter().chain([("volume", claims()), ("persistentvolumeclaim", claims())]);
    let fitting = known.filter(|(word, _)| why.contains(word)).map(|(_, remedy)| remedy);
    std::iter::once("add nodes".to_owned()).chain(fitting).collect()
}

/// Where the resource says how the component's pods are. Of Sentinels, the pooler and the runtime it does not say all
/// that others have.
fn field(plan: &Plan, component: &str) -> Option<String> {
    let service = plan.components.iter().find(|it| it.name == component && it.role == Role::Service);
    match (component, service) {
        (SENTINEL | POOLER | RUNTIME, _) => None,
        (name, Some(_)) => Some(format!("services[{name}]")),
        (name, None) => Some(name.to_owned()),
    }
}

/// `None` where it is ready, going, or only on its way.
fn of(pod: &Pod) -> Option<Hindrance> {
    let status = pod.status.as_ref()?;
    let condition = |type_: &str| status.conditions.iter().flatten().find(|it| it.type_ == type_);
    let is_ready = condition("Ready").is_some_and(|ready| ready.status == "True");
    if is_ready || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let unscheduled = condition("PodScheduled")
        .filter(|it| it.status == "False" && it.reason.as_deref() == Some("Unschedulable"));
    if let Some(unscheduled) = unscheduled {
        return Some(Hindrance::NoNode { why: sentence(unscheduled.message.as_deref().unwrap_or_default()) });
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.filter(|container| !container.ready).find_map(of_container)
}

fn of_container(status: &ContainerStatus) -> Option<Hindrance> {
    let container = status.name.clone();
    let ended = |state: Option<&ContainerState>| state?.terminated.clone();
    let last = ended(status.state.as_ref()).or_else(|| ended(status.last_state.as_ref()));
    let last = last.unwrap_or_default();
    let is_running = status.state.as_ref().is_some_and(|state| state.running.is_some());
    match last.reason.as_deref() {
        Some("OOMKilled") => return Some(Hindrance::Memory { container }),
        // It has no log: what the runtime says is all that there is.
        Some("StartError" | "ContainerCannotRun") if !is_running => {
            return Some(Hindrance::Refused { container, why: sentence(&last.message.unwrap_or_default()) });
        }
        _ => {}
    }
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let why = || sentence(waiting.message.as_deref().unwrap_or_default());
    match waiting.reason.as_deref()? {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => Some(Hindrance::NoImage { image: status.image.clone() }),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Hindrance::Refused { container, why: why() })
        }
        "CrashLoopBackOff" => Some(Hindrance::Crashes { container }),
        _ => None,
    }
}

/// The first one, without the attempts to make room that come after it.
fn sentence(said: &str) -> String {
    let first = said.split(". ").next().unwrap_or_default();
    first.trim_end_matches('.').chars().filter(|it| !it.is_control()).take(QUOTED).collect()
}
