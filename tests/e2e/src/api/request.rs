//! Requests as bare JSON, always with strict validation, which kube's typed interface cannot ask for.

use anyhow::{Context, Result};
use kube::api::{DeleteParams, PostParams};
use kube::core::{Request, Status};
use kube::{Client, Error};
use serde_json::Value;

/// What the apiserver says: the object, or why not.
pub type Answer = Result<Value, Box<Status>>;

/// The objects of one kind, in one namespace or in none.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    path: String,
}

impl Objects {
    /// Objects without a namespace.
    #[must_use]
    pub fn new(client: &Client, group: &str, version: &str, plural: &str) -> Self {
        Self { client: client.clone(), path: format!("{}/{plural}", root(group, version)) }
    }

    /// Objects of a namespace.
    #[must_use]
    pub fn namespaced(client: &Client, group: &str, version: &str, namespace: &str, plural: &str) -> Self {
        let path = format!("{}/namespaces/{namespace}/{plural}", root(group, version));
        Self { client: client.clone(), path }
    }

    /// The platforms of a namespace.
    #[must_use]
    pub fn platforms(client: &Client, namespace: &str) -> Self {
        Self::namespaced(client, trading_api::GROUP, "v1alpha1", namespace, "tradingplatforms")
    }

    /// Creates an object.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn create(&self, params: &PostParams, body: &Value) -> Result<Answer> {
        let mut request = self.requests().create(params, serde_json::to_vec(body)?)?;
        *request.uri_mut() = strict(&request.uri().to_string()).parse()?;
        answer(self.client.request(request).await)
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn replace(&self, name: &str, params: &PostParams, body: &Value) -> Result<Answer> {
        let mut request = self.requests().replace(name, params, serde_json::to_vec(body)?)?;
        *request.uri_mut() = strict(&request.uri().to_string()).parse()?;
        answer(self.client.request(request).await)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, name: &str) -> Result<Answer> {
        let request = self.requests().delete(name, &DeleteParams::default())?;
        answer(self.client.request(request).await)
    }

    fn requests(&self) -> Request {
        Request::new(self.path.clone())
    }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// The same address, but unknown fields and fields that are there twice are refused.
fn strict(uri: &str) -> String {
    let separator = if uri.ends_with('?') {
        ""
    } else if uri.contains('?') {
        "&"
    } else {
        "?"
    };
    format!("{uri}{separator}fieldValidation=Strict")
}

/// Tells a refusal from a failure.
fn answer(result: Result<Value, Error>) -> Result<Answer> {
    match result {
        Ok(object) => Ok(Ok(object)),
        Err(Error::Api(status)) => Ok(Err(status)),
        Err(error) => Err(error).context("no answer from the apiserver"),
    }
}
