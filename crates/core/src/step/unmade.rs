//! What waits for a Secret whose password or certificate could not be made; pure.

use crate::{
    kinds::Kind,
    object::{Content, Object},
    plan::{POOLER, POSTGRES, REDIS, SENTINEL},
};

/// Whether the object waits for the Secret. One without its password would be taken for one that lost it, as would
/// one that servers never had.
#[must_use]
pub fn waits_for(object: &Object, unmade: &Object) -> bool {
    unmade.key() == object.key()
        || match unmade.content {
            // Pods that can't have it would take the place of such as serve.
            Content::Certified { .. } => {
                let runs_pods = object.kind.serves_data() || object.kind == Kind::Deployment;
                let part = match object.component.as_str() {
                    SENTINEL => REDIS,
                    POOLER => POSTGRES,
                    component => component,
                };
                runs_pods && part == unmade.component
            }
            // A store begins with it.
            Content::GeneratedOnce(_) => object.kind.serves_data() && unmade.component == object.component,
            _ => false,
        }
}
