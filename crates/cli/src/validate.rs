//! `validate`: the rules of admission, without a cluster.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;
use trading_api::{GROUP, TradingPlatform};
use trading_core::{
    admission::{self, Violation},
    plan::Plan,
    problem::Problem,
    resolve::resolve,
};

use crate::{
    complain,
    documents::{self, Document, KIND, Source, text},
    metadata, print, render,
};

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// File with platforms, or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    files: Vec<Source>,
    /// File with the platforms as they are now: checks too what may not be changed
    #[arg(long, value_name = "FILE")]
    old: Option<Source>,
}

/// Says of each platform whether it is valid, or which rules it breaks.
///
/// # Errors
/// Where `--old` can't be read or standard output can't be written.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let old = match &arguments.old {
        Some(source) => Some(documents::read(source).map_err(|error| error.context(source.to_string()))?),
        None => None,
    };
    let mut code = ExitCode::SUCCESS;
    for source in &arguments.files {
        if !validate(source, old.as_deref())? {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Whether every platform of a source is valid.
fn validate(source: &Source, old: Option<&[Document]>) -> Result<bool> {
    let documents = match documents::read(source) {
        Ok(documents) => documents,
        Err(error) => {
            complain(&format!("{source}: {error:#}"));
            return Ok(false);
        }
    };
    let mut all_valid = true;
    for document in &documents {
        let name = document.name();
        let before = old.map(|old| earlier(document, old));
        match check(document, before.flatten()) {
            Ok(platform) => {
                let plan = resolve(&platform, &render::inputs());
                warn(source, &plan, &render::first_steps(&plan).problems);
                let new = if before == Some(None) { "; it is new, --old does not have it" } else { "" };
                print(&format!("{source}: tradingplatform/{name} is valid{new}\n"))?;
            }
            Err(violations) => {
                refuse(source, &name, &violations);
                all_valid = false;
            }
        }
    }
    Ok(all_valid)
}

/// Says which rules a platform breaks.
pub(crate) fn refuse(source: &Source, name: &str, violations: &[Violation]) {
    for violation in violations {
        complain(&format!("{source}: {name}: {violation}"));
    }
}

/// Says what the operator will report although the platform is valid.
pub(crate) fn warn(source: &Source, plan: &Plan, further: &[Problem]) {
    for problem in plan.problems.iter().chain(further) {
        complain(&format!("{source}: {}: warning: {}", plan.identity.name, problem.message));
    }
}

/// The same platform in an earlier version of the files. A file that leaves the namespace open
/// is taken to mean the same one.
fn earlier<'a>(document: &Document, old: &'a [Document]) -> Option<&'a Value> {
    let at = |document: &Document, field| text(&document.object, field).to_owned();
    let (name, namespace) = (at(document, "/metadata/name"), at(document, "/metadata/namespace"));
    let mut same_name = old.iter().filter(|old| at(old, "/metadata/name") == name);
    let found = if namespace.is_empty() {
        same_name.next()
    } else {
        same_name.find(|old| ["", namespace.as_str()].contains(&text(&old.object, "/metadata/namespace")))
    };
    found.map(|old| &old.object)
}

/// The platform, or every rule that it breaks.
///
/// # Errors
/// The rules.
pub fn check(document: &Document, old: Option<&Value>) -> Result<TradingPlatform, Vec<Violation>> {
    let object = &document.object;
    let mut violations = identity(object);
    violations.extend(metadata::name(object));
    if !violations.is_empty() {
        return Err(violations);
    }
    let mut violations = metadata::check(object);
    violations.extend(admission::check(object, old));
    if !violations.is_empty() {
        return Err(violations);
    }
    // The status is the operator's; what a file says of it is not looked at.
    let mut object = object.clone();
    object.as_object_mut().map(|fields| fields.remove("status"));
    serde_json::from_value(object).map_err(|error| vec![violation("", error.to_string())])
}

fn violation(field: &str, message: String) -> Violation {
    Violation { field: field.to_owned(), message }
}

/// What says that it is a platform. Without it, and without a name, no other rule makes sense.
fn identity(object: &Value) -> Vec<Violation> {
    let wrong = |field: &str, wanted: &str| {
        let message = match object.get(field) {
            None => format!("is missing: use {wanted}"),
            Some(Value::String(found)) if found == wanted => return None,
            Some(Value::String(found)) => format!("{found} is not known: use {wanted}"),
            Some(found) => format!("{found} is not known: use {wanted}"),
        };
        Some(violation(field, message))
    };
    [wrong("apiVersion", &format!("{GROUP}/v1alpha1")), wrong("kind", KIND)].into_iter().flatten().collect()
}
