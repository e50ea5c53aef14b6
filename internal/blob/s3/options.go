package s3

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Options say where the bytes are and how they are kept.
type Options struct {
	Bucket    string
	Prefix    string // of all keys, without slashes at its ends; may be empty
	Endpoint  string // http or https URL of a server other than Amazon's; empty: Amazon's
	Region    string // empty: that of the AWS configuration, else us-east-1
	PathStyle bool   // the bucket is in the path and not in the host name

	// SSE is how S3 encrypts at rest: "" (what the bucket says), AES256, aws:kms or aws:kms:dsse
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html).
	SSE      string
	KMSKeyID string // for the KMS modes; empty: the account's own key for S3

	// Encryption, when set, decides for a domain instead of SSE and KMSKeyID.
	Encryption func(ctx context.Context, domain string) (sse, keyID string, err error)

	// The access key; empty: the standard chain of the AWS SDKs
	// (https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html).
	AccessKeyID, SecretAccessKey, SessionToken string

	Attempts   int            // for each request, the first one included; 0: 3
	HTTPClient aws.HTTPClient // what sends requests; nil: a client of the store's own
	Log        *slog.Logger   // hears of garbage that could not be removed; nil: nobody does

	backoff time.Duration // the most between two attempts; 0: maxBackoff. For tests
}

// sseModes are the values of the header x-amz-server-side-encryption that S3 documents for general purpose buckets.
func sseModes() []string { return []string{"AES256", "aws:kms", "aws:kms:dsse"} }

// The alphabets of what becomes part of a key, a host or a header. Bucket names:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, in the older, wider form that servers
// other than Amazon's still allow.
var (
	bucketPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)
	prefixPattern = regexp.MustCompile(`^[A-Za-z0-9!_.*'()=+@,-]+(/[A-Za-z0-9!_.*'()=+@,-]+)*$`)
	regionPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	keyIDPattern  = regexp.MustCompile(`^[A-Za-z0-9:/_-]+$`)
)

// maxPrefix leaves room in a key of at most 1,024 bytes for a domain, an ID and a round.
const maxPrefix = 512

// ParseURL reads options from
//
//	s3://bucket/prefix?endpoint=http://…&region=…&path-style=true&sse=…&sse-kms-key-id=…
//
// Keys and passwords have no place in it, and its errors repeat nothing that might be one.
func ParseURL(raw string) (Options, error) {
	rest, ok := strings.CutPrefix(raw, "s3://")
	if !ok {
		return Options{}, fmt.Errorf("the URL of an S3 bucket begins with s3://, as in s3://bucket/prefix")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.ContainsAny(rest, "@#%") || strings.Contains(query, "#") {
		return Options{}, fmt.Errorf("the URL of an S3 bucket has no user, password, fragment or escapes: " +
			"give keys by the environment or by the standard configuration of AWS")
	}
	var o Options
	o.Bucket, o.Prefix, _ = strings.Cut(rest, "/")
	o.Prefix = strings.TrimSuffix(o.Prefix, "/")
	values, err := url.ParseQuery(query)
	if err != nil {
		return Options{}, fmt.Errorf("the query of the S3 URL is malformed: write it as name=value&name=value")
	}
	for name, given := range values {
		if len(given) != 1 {
			return Options{}, fmt.Errorf("%q is given %d times in the S3 URL: give it once", name, len(given))
		}
		if err := o.set(name, given[0]); err != nil {
			return Options{}, err
		}
	}
	return o, o.validate()
}

// set takes one parameter of the URL.
func (o *Options) set(name, value string) error {
	switch name {
	case "endpoint":
		o.Endpoint = value
	case "region":
		o.Region = value
	case "path-style":
		style, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("path-style=%q in the S3 URL is neither true nor false", value)
		}
		o.PathStyle = style
	case "sse":
		o.SSE = value
	case "sse-kms-key-id":
		o.KMSKeyID = value
	default:
		return fmt.Errorf("the S3 URL has no parameter %q: "+
			"there are endpoint, region, path-style, sse and sse-kms-key-id", name)
	}
	return nil
}

// validate checks what can be checked without asking anybody.
func (o Options) validate() error {
	if !bucketPattern.MatchString(o.Bucket) {
		return fmt.Errorf("%q is no name of an S3 bucket: it has 3 to 63 letters, digits, dots, dashes or underscores", o.Bucket)
	}
	if o.Prefix != "" && (!prefixPattern.MatchString(o.Prefix) || len(o.Prefix) > maxPrefix || dotted(o.Prefix)) {
		return fmt.Errorf("the prefix in the S3 bucket must be words of safe characters between single slashes, "+
			"none of them . or .., and at most %d bytes long", maxPrefix)
	}
	if o.Region != "" && !regionPattern.MatchString(o.Region) {
		return fmt.Errorf("%q is no name of a region", o.Region)
	}
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("the S3 endpoint must be a URL of scheme and host only, as in http://127.0.0.1:9000")
		}
	}
	if (o.AccessKeyID == "") != (o.SecretAccessKey == "") {
		return fmt.Errorf("an S3 access key has an ID and a secret: give both or neither")
	}
	return checkEncryption(o.SSE, o.KMSKeyID)
}

func checkEncryption(sse, keyID string) error {
	switch {
	case sse != "" && !slices.Contains(sseModes(), sse):
		return fmt.Errorf("sse %q is no encryption of S3: there are %s", sse, strings.Join(sseModes(), ", "))
	case keyID != "" && !strings.HasPrefix(sse, "aws:kms"):
		return fmt.Errorf("a KMS key needs the encryption aws:kms or aws:kms:dsse, not %q", sse)
	case keyID != "" && (!keyIDPattern.MatchString(keyID) || len(keyID) > 2048):
		return fmt.Errorf("%q is neither the ID nor the ARN of a KMS key", keyID)
	}
	return nil
}

// dotted tells whether a part of a path is one that clients and proxies would resolve away.
func dotted(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool { return part == "." || part == ".." })
}
