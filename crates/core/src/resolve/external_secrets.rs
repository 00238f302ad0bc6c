//! Decides how Secrets from outside are fetched, and which belong to a data store.

use trading_api::secrets::ExternalSecret;

use super::Context;
use crate::{
    plan::{ExternalSecretPlan, POSTGRES, PostgresPlan, REDIS, RedisPlan},
    problem::Problem,
};

pub(super) fn resolve_all(
    context: &mut Context,
    redis: Option<&RedisPlan>,
    postgres: Option<&PostgresPlan>,
) -> Vec<ExternalSecretPlan> {
    let all = context.spec.secrets.iter().flat_map(|secrets| &secrets.external);
    all.filter_map(|secret| {
        if redis.is_some_and(|redis| redis.password.generated && redis.password.secret == secret.name) {
            context.problems.push(generated(secret));
            return None;
        }
        let of_redis = redis.is_some_and(|redis| redis.password.secret == secret.name);
        let of_postgres = postgres.is_some_and(|postgres| postgres.secret == secret.name);
        Some(ExternalSecretPlan {
            store: of_redis.then_some(REDIS).or(of_postgres.then_some(POSTGRES)),
            refresh_interval: context.fill(
                &format!("secrets.external[{}].refreshInterval", secret.name),
                secret.refresh_interval.as_ref(),
                "1h".to_owned(),
                "operator",
            ),
            spec: secret.clone(),
        })
    })
    .collect()
}

fn generated(secret: &ExternalSecret) -> Problem {
    Problem::whole(
        "SecretNameTaken",
        format!(
            "secrets.external makes Secret {:?}, in which the operator keeps the password that it generated for Redis: give it another name and refer to it in redis.auth.passwordSecretRef",
            secret.name
        ),
    )
}
