// Package sigv4 checks AWS Signature Version 4 on incoming requests, in the
// Authorization header and in the query string (presigned URLs).
//
// It guarantees:
//
//   - the canonical request is built from the SignedHeaders list only, so a
//     header added by a proxy on the way changes nothing, while a signed header
//     that changed or vanished is always noticed;
//   - host and every X-Amz-* header present must be signed, and the payload hash
//     always covers the body that was received, except for S3 and presigned GETs
//     which may declare UNSIGNED-PAYLOAD, as on AWS;
//   - a signature is good for 15 minutes either side of its date, a presigned
//     URL for its X-Amz-Expires of at most seven days;
//   - every list and length has a bound, and nothing is sorted, hashed or looked
//     up before the bounds were checked;
//   - signatures are compared in constant time and no secret, derived key or
//     canonical request ever appears in an error.
//
// A refusal is an *[Error] which holds AWS's own exception for both of AWS's
// protocols. A key store that fails is reported as an ordinary error and must
// be answered as a server error, never as a refusal.
//
// Source: IAM User Guide, "AWS Signature Version 4 for API requests" (create a
// signed request; troubleshooting; authentication methods) and Amazon S3 API
// Reference, "Authenticating requests (AWS Signature Version 4)". SigV4A
// (asymmetric signatures) and the streaming payload forms of S3 are refused.
package sigv4
