//! Decides how the container runtime runs.

use trading_api::{Quantity, image::Image, runtime::ContainerRuntime};

use super::{Context, image_reference, preset, references};
use crate::{
    plan::{RUNTIME, RuntimePlan, RuntimeTlsPlan, VolumePlan},
    problem::Problem,
};

/// Ports that Docker has registered with IANA, without and with TLS.
const PLAIN: i32 = 2375;
const TLS: i32 = 2376;

pub(super) fn resolve(context: &mut Context, given: &ContainerRuntime) -> RuntimePlan {
    let default = Image { repository: "docker".to_owned(), tag: None, digest: None };
    let (image, version) = image_reference(given.image.as_ref().unwrap_or(&default), None, "28-dind");
    let moderate = ["500m", "1Gi", "2", "4Gi"].map(Quantity::from);
    let resources =
        preset::within(context, "containerRuntime", given.resources.as_ref(), moderate, "operator");
    let tls = given.tls.as_ref().map(|tls| RuntimeTlsPlan {
        server: tls.server_secret_name.clone(),
        client: tls.client_secret_name.clone(),
    });
    let namespace = context.identity.namespace_of(RUNTIME);
    let consumed: Vec<_> = tls.iter().map(|tls| references::certificate(namespace, &tls.server)).collect();
    references::report_missing(context, RUNTIME, &consumed);
    let allowed = context.inputs.operator.allow_container_runtime;
    if !allowed {
        context.problems.push(not_allowed());
    }
    RuntimePlan {
        image,
        version,
        resources,
        port: if tls.is_some() { TLS } else { PLAIN },
        tls,
        shared: given
            .shared_volume
            .as_ref()
            .map(|volume| VolumePlan { size: volume.size.clone(), class: volume.storage_class_name.clone() }),
        local: given.local_storage.clone(),
        egress: given.egress.clone(),
        node_selector: given.node_selector.clone(),
        tolerations: given.tolerations.clone(),
        checksum: references::checksum(context.inputs, &consumed, None),
        allowed,
    }
}

fn not_allowed() -> Problem {
    Problem::of(
        RUNTIME,
        "RuntimeNotAllowed",
        "the pods of a container runtime are privileged, and this operator does not allow them: its administrator can start it with --allow-container-runtime (Helm: containerRuntime.allowed=true); until then the rest of the platform runs without".to_owned(),
    )
}
