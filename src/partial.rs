//! Gets one object of the cluster and keeps only the fields that the caller's type names.
//!
//! A CRD is hundreds of kilobytes of schema that nobody here looks at, so it is never made into a typed object or a tree.
//! What the fields mean is the caller's.

use kube::Client;
use kube::api::GetParams;
use kube::core::Request;
use serde::de::DeserializeOwned;

/// Gets the object of that name under the collection `url`; `None` where there is none.
pub async fn get<T: DeserializeOwned>(
    client: &Client,
    url: &str,
    name: &str,
) -> Result<Option<T>, kube::Error> {
    let request = Request::new(url).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
    match client.request(request).await {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
