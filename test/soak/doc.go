// Package soak holds tests only: a server under everything at once, for a while. Quay's soak of three hours reported 40
// lost blobs of 104,135 (quay/quay#6318): an upload was answered with 201, collection took the blob, and the manifest
// that came next was refused. Here none may be lost.
//
// SOAK_TIME sets how long it takes.
package soak
