package ociapi

import (
	"net/http"
	"regexp"
	"strconv"

	"berth/internal/upload"
)

// contentRange is the form that chunked uploads use (distribution-spec,
// "Pushing a blob in chunks"): the offsets of the first and the last byte. The
// "bytes " and "/size" of RFC 9110 are accepted too.
var contentRange = regexp.MustCompile(`^(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?$`)

// parseContentRange gives the offset that a chunk starts at, or
// upload.AnyOffset when the header is absent. length is the body's, or -1 when
// it is not known.
func parseContentRange(header string, length int64) (int64, error) {
	if header == "" {
		return upload.AnyOffset, nil
	}
	m := contentRange.FindStringSubmatch(header)
	if m == nil {
		return 0, &wireError{http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "The Content-Range header must be of the form <first byte>-<last byte>"}
	}
	first, err1 := strconv.ParseInt(m[1], 10, 64)
	last, err2 := strconv.ParseInt(m[2], 10, 64)
	if err1 != nil || err2 != nil || last < first {
		return 0, &wireError{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "The Content-Range header ends before it starts"}
	}
	if length >= 0 && length != last-first+1 {
		return 0, &wireError{http.StatusBadRequest, "SIZE_INVALID", "The Content-Range header and the Content-Length header disagree"}
	}
	return first, nil
}
