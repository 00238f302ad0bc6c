//! Further users of Redis: a Secret for each that gets a generated password, and one with the passwords of all.

use k8s_openapi::api::core::v1::Volume;

use super::{accounts, store::Store};
use crate::{
    object::{Object, PASSWORD},
    plan::{AccountPlan, Plan, REDIS_USERS, RedisPlan},
};

/// Where the servers have the passwords.
pub(super) const FOLDER: &str = "/users";

pub(super) fn render(store: &Store, redis: &RedisPlan) -> Vec<Object> {
    let users: Vec<&AccountPlan> = redis.users.iter().map(|user| &user.account).collect();
    let generated = users.iter().filter(|user| user.password.generated && !user.is_lost);
    let mut objects: Vec<Object> = generated
        .map(|user| {
            let login = [("username", user.name.clone()), (user.password.key.as_str(), PASSWORD.to_owned())];
            store.secret(&user.password.secret).generated_once(login)
        })
        .collect();
    objects.extend(accounts::all(store, REDIS_USERS, &users));
    objects
}

pub(super) fn volume(plan: &Plan) -> Volume {
    accounts::volume(plan, "users", REDIS_USERS)
}
