//! Termination stage, I/O: why a container ended, as JSON where Kubernetes shows it in the pod's status.

use std::fs::OpenOptions;
use std::io::Write;

use serde_json::json;

/// Where the kubelet reads it.
const FILE: &str = "/dev/termination-log";
/// Bytes that the kubelet takes, less what is around the message.
const LONGEST: usize = 3000;

/// Leaves a reason, one word for programs, and a message for people.
pub fn tell(reason: &str, message: &str) {
    let message: String = message.chars().take(LONGEST).collect();
    // Where there is no such file nobody reads it; the message is on stderr as well.
    if let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(FILE) {
        let _ = writeln!(file, "{}", json!({"reason": reason, "message": message}));
    }
}
