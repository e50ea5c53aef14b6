// Package impact says what a plan does to images before it is carried out: which go, by which rule, under which tags,
// how many bytes that really frees, and which of them something still runs.
//
// It is pure: what a preview said, the images and the references in use come in, a report goes out. It guarantees that
// bytes count as freed only when no image of the registry lists them afterwards, and that a reference in use is found
// by its tag as well as by its digest.
package impact
