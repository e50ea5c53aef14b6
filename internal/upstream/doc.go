// Package upstream is a client of registries that others run: it reads
// manifests, blobs and referrers by the OCI Distribution API.
//
// # Guarantees
//
//   - It speaks HTTPS to public addresses only. An address is judged when the
//     connection is made, after its name was resolved, and so is every place that
//     a redirect or a token realm leads to. A host that is mapped to a URL by
//     configuration is reached there and nowhere else, whatever address that is.
//   - Credentials go to the registry that they are for and to the token realms
//     that it is known to have, over the way above; to nobody else.
//   - What comes back is bounded: in bytes, in redirects, and in the time that
//     passes without a byte.
//   - A manifest is given out only when its bytes have the digest asked for, or
//     the one that the registry said they have. Blobs are the caller's to verify.
//   - A registry that says that too much was asked of it is left alone for as long
//     as it says.
package upstream
