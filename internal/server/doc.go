// Package server wires the registry together: stores, domain and doors, with
// every part made explicitly in [New]. [Server.Run] serves until its context
// ends and then lets running requests finish.
//
// One port serves every API; what a request is decides where it goes: /v2/ is
// the Distribution API, POST / with X-Amz-Target the ECR API, POST / with a
// form STS and IAM, and /healthz, /readyz and /metrics are for operators.
package server
