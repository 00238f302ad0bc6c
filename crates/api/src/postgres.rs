//! Postgres of the platform.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::network::Cidr;

/// The platform's database. This release connects to one outside the cluster.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Postgres {
    /// `External`: a database that runs elsewhere, described in `external`.
    pub mode: PostgresMode,
    /// Where the database is and how to log in.
    pub external: ExternalPostgres,
}

/// Who runs the database.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum PostgresMode {
    /// Somebody else.
    External,
}

/// A database outside the cluster.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalPostgres {
    /// DNS name or IP address. Clients get it as it is, so that TLS names fit; the Service
    /// `<platform>-postgres` points there too.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("isIP(self) || self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$')")
        .message("host must be a DNS name or an IP address, without scheme, port or path"))]
    #[x_kube(validation = Rule::new("isIP(self) ? !ip(self).isLoopback() && !ip(self).isLinkLocalUnicast() && !ip(self).isUnspecified() && self != 'fd00:ec2::254' : self.lowerAscii() != 'localhost'")
        .message("host must be reachable from the pods: not loopback, link-local, nor the cloud's metadata address"))]
    pub host: String,
    /// Port; default 5432.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_$-]*$"))]
    pub database: String,
    /// libpq's sslmode; default `Require`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_mode: Option<SslMode>,
    /// Secret with the login.
    pub credentials_secret_ref: CredentialsRef,
    /// Address blocks of the database for the network policy. Where they are left out and `host`
    /// is a name, the policy admits the port to any address but the cloud's metadata service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub cidrs: Vec<Cidr>,
}

/// libpq's sslmode.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS where the server offers it.
    Prefer,
    /// TLS, the certificate unchecked.
    Require,
    /// TLS, the certificate's authority checked.
    VerifyCa,
    /// TLS, authority and host name checked.
    VerifyFull,
}

impl SslMode {
    /// As libpq writes it.
    #[must_use]
    pub fn as_libpq(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A Secret with a user name and a password.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key of the user name; default `username`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_key: Option<String>,
    /// Key of the password; default `password`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_key: Option<String>,
}
