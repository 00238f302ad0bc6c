//! Decides how the platform reaches its database.

use trading_api::{
    network::Cidr,
    postgres::{Postgres, SslMode},
};

use super::Context;
use crate::plan::{Host, PostgresPlan};

pub(super) fn resolve(context: &mut Context, postgres: &Postgres) -> PostgresPlan {
    let external = &postgres.external;
    let host = match external.host.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(external.host.clone()),
    };
    let mut cidrs = external.cidrs.clone();
    if let (true, Host::Address(address)) = (cidrs.is_empty(), &host) {
        cidrs.push(Cidr(format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })));
    }
    if cidrs.is_empty() {
        context.fill(
            "postgres.external.cidrs",
            None,
            "any address but the cloud's metadata service, for want of address blocks".to_owned(),
            "operator",
        );
    }
    let login = &external.credentials_secret_ref;
    PostgresPlan {
        host,
        port: context.fill("postgres.external.port", external.port.as_ref(), 5432, "operator"),
        database: external.database.clone(),
        ssl_mode: external.ssl_mode.unwrap_or(SslMode::Require),
        secret: login.name.clone(),
        username_key: login.username_key.clone().unwrap_or_else(|| "username".to_owned()),
        password_key: login.password_key.clone().unwrap_or_else(|| "password".to_owned()),
        cidrs,
    }
}
