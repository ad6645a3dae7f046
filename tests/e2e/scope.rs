//! What the operator needs as the chart installs it by default: in its own namespace, with its own CA, its Lease and the
//! migration of what is stored.

use mcp_hangar_operator::manifests::RELEASE;
use mcp_hangar_operator::permissions::Scope;
use mcp_hangar_operator::provider::places::Places;

pub(crate) fn scope<'a>(namespace: &'a str, places: &'a Places) -> Scope<'a> {
    Scope {
        namespace,
        ca_secret: "mcp-hangar-operator-webhook-ca",
        configuration_name: RELEASE,
        applies: false,
        own_ca: true,
        lease: Some(RELEASE),
        migrates: true,
        places: Some(places),
    }
}
