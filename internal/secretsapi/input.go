package secretsapi

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"berth/internal/access"
	"berth/internal/ecr"
	"berth/internal/secrets"
)

// An input is a request of any operation: no two of them have a member of one
// name that means two things.
type input struct {
	SecretID            *string `json:"SecretId"`
	Name                *string
	Description         *string
	KMSKeyID            *string `json:"KmsKeyId"`
	ClientRequestToken  *string
	SecretString        *string
	SecretBinary        []byte
	VersionID           *string `json:"VersionId"`
	VersionStage        *string
	VersionStages       []string
	MoveToVersionID     *string `json:"MoveToVersionId"`
	RemoveFromVersionID *string `json:"RemoveFromVersionId"`
	Tags                []struct{ Key, Value *string }
	TagKeys             []string
	Filters             []filter
	SortOrder           *string
	SortBy              *string

	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery *bool
	IncludePlannedDeletion     *bool
	IncludeDeprecated          *bool
	MaxResults                 *int
	NextToken                  *string

	AddReplicaRegions []struct{ Region string }
	Type              *string

	refused    error
	violations []string
}

// err is what is wrong with the request, all constraints at once.
func (in *input) err() error {
	switch n := len(in.violations); {
	case n == 1:
		return invalid("1 validation error detected: " + in.violations[0])
	case n > 1:
		return invalid(fmt.Sprintf("%d validation errors detected: %s", n, strings.Join(in.violations, "; ")))
	}
	return in.refused
}

func invalid(message string) error {
	return &ecr.Exception{Type: codeValidation, Message: message, Status: http.StatusBadRequest}
}

// refuse notes an error that is told after constraints.
func (in *input) refuse(code, message string) {
	if in.refused == nil {
		in.refused = &secrets.Error{Code: code, Message: message}
	}
}

func (in *input) violate(member, value, constraint string) {
	if value != "null" {
		if len(value) > 256 {
			value = strings.ToValidUTF8(value[:256], "") + "..."
		}
		value = "'" + value + "'"
	}
	in.violations = append(in.violations, "Value "+value+" at '"+member+"' failed to satisfy constraint: "+constraint)
}

// text gives a member of min to max characters, "" when it is absent.
func (in *input) text(member string, v *string, required bool, min, max int) string {
	if v == nil {
		if required {
			in.violate(member, "null", "Member must not be null")
		}
		return ""
	}
	switch n := utf8.RuneCountInString(*v); {
	case n < min:
		in.violate(member, *v, fmt.Sprintf("Member must have length greater than or equal to %d", min))
	case n > max:
		in.violate(member, *v, fmt.Sprintf("Member must have length less than or equal to %d", max))
	}
	return *v
}

func (in *input) secretID() string { return in.text("secretId", in.SecretID, true, 1, 2048) }

// namePattern is what names consist of (API_CreateSecret, Name).
var namePattern = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]+$`)

func (in *input) name() string {
	n := in.text("name", in.Name, true, 1, 512)
	if n != "" && !namePattern.MatchString(n) {
		in.refuse(codeValidation, "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	return n
}

// token is 32 to 64 characters (API_PutSecretValue, ClientRequestToken).
func (in *input) token() string {
	return in.text("clientRequestToken", in.ClientRequestToken, false, 32, 64)
}

// value is the one of SecretString and SecretBinary that is given.
func (in *input) value(required bool) *secrets.Value {
	switch {
	case in.SecretString != nil && in.SecretBinary != nil:
		in.refuse(secrets.InvalidParameter, "You can't specify both a binary secret value and a string secret value in the same secret.")
	case in.SecretString != nil:
		return &secrets.Value{Bytes: []byte(*in.SecretString)}
	case in.SecretBinary != nil:
		return &secrets.Value{Binary: true, Bytes: in.SecretBinary}
	case required:
		in.refuse(secrets.InvalidRequest, "You must provide either SecretString or SecretBinary.")
	}
	return nil
}

// tags gives the tags of a request, also as conditions see them.
func (in *input) tags(required bool) (map[string]string, []access.Tag) {
	if in.Tags == nil && required {
		in.violate("tags", "null", "Member must not be null")
	}
	out, list := map[string]string{}, []access.Tag{}
	for i, t := range in.Tags {
		at := fmt.Sprintf("tags.%d.member.", i+1)
		k, v := in.text(at+"key", t.Key, true, 1, 128), in.text(at+"value", t.Value, false, 0, 256)
		if _, twice := out[k]; twice {
			in.refuse(secrets.InvalidParameter, "Duplicate tag key: "+k)
		}
		out[k] = v
		list = append(list, access.Tag{Key: k, Value: v})
	}
	return out, list
}

// integer gives a member of min to max, or what holds when it is absent.
func (in *input) integer(member string, v *int, none, min, max int) int {
	if v == nil {
		return none
	}
	switch {
	case *v < min:
		in.violate(member, fmt.Sprint(*v), fmt.Sprintf("Member must have value greater than or equal to %d", min))
	case *v > max:
		in.violate(member, fmt.Sprint(*v), fmt.Sprintf("Member must have value less than or equal to %d", max))
	}
	return *v
}

func is(b *bool) bool { return b != nil && *b }

func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
