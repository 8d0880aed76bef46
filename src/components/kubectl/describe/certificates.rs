//! Certificate signing requests.

use super::text::{Text, joined_labels, rfc1123};
use crate::error::{Fail, text as fail};
use api::kinds::certificates::certificate_signing_request::parse;
use api::kinds::certificates::certificate_signing_request::request_status;
use api::{duration, value};
use serde_json::Value;

pub(super) fn request(text: &mut Text, csr: &Value) -> Result<(), Fail> {
    let request = match parse(csr) {
        Ok(request) => request,
        Err(why) => return fail(format!("Error parsing CSR: {why}")),
    };
    text.field(0, "Name", value::text(csr, "metadata.name"));
    text.field(0, "Labels", joined_labels(value::at(csr, "metadata.labels")));
    text.field(0, "Annotations", joined_labels(value::at(csr, "metadata.annotations")));
    text.field(0, "CreationTimestamp", rfc1123(value::text(csr, "metadata.creationTimestamp")));
    text.field(0, "Requesting User", value::text(csr, "spec.username"));
    text.field(0, "Signer", value::text(csr, "spec.signerName"));
    if let Some(seconds) = value::int(csr, "spec.expirationSeconds") {
        text.field(0, "Requested Duration", duration::human(seconds));
    }
    text.field(0, "Status", request_status(csr));
    text.line(0, "Subject:");
    text.field(0, "\tCommon Name", &request.common_name);
    text.field(0, "\tSerial Number", &request.serial_number);
    for (title, values) in [
        ("Organization", &request.organizations),
        ("Organizational Unit", &request.units),
        ("Country", &request.countries),
        ("Locality", &request.localities),
        ("Province", &request.provinces),
        ("StreetAddress", &request.streets),
        ("PostalCode", &request.postal_codes),
    ] {
        list(text, title, values);
    }
    let names = [
        ("DNS Names", &request.dns_names),
        ("Email Addresses", &request.emails),
        ("URIs", &request.uris),
        ("IP Addresses", &request.addresses),
    ];
    if names.iter().any(|(_, values)| !values.is_empty()) {
        text.line(0, "Subject Alternative Names:");
        names.into_iter().for_each(|(title, values)| list(text, title, values));
    }
    Ok(())
}

/// The first value beside its title, the others below it.
fn list(text: &mut Text, title: &str, values: &[String]) {
    if !values.is_empty() {
        text.line(0, format!("\t{title}:\t{}", values.join("\n\t\t")));
    }
}
