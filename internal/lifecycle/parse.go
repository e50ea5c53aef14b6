package lifecycle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Parse reads and validates a lifecycle policy document. The error is always an
// *[Error]; it reports the first fault in this order: length, JSON, the schema
// of each rule in turn, then what must hold across rules.
func Parse(text string) (*Policy, error) {
	switch n := utf8.RuneCountInString(text); {
	case n < MinTextLength:
		return nil, &Error{constraint: true, Body: fmt.Sprintf("must have length greater than or equal to %d", MinTextLength)}
	case n > MaxTextLength:
		return nil, &Error{constraint: true, Body: fmt.Sprintf("must have length less than or equal to %d", MaxTextLength)}
	}
	p, perr := parse(text)
	if perr != nil {
		return nil, perr
	}
	return p, nil
}

func parse(text string) (*Policy, *Error) {
	doc, ok := decode(text)
	if !ok {
		return nil, unmappable()
	}
	if err := checkProperties("", doc, []string{"rules"}, nil); err != nil {
		return nil, err
	}
	list, ok := doc["rules"].([]any)
	switch {
	case !ok:
		return nil, wrongType("rules", doc["rules"], "array")
	case len(list) == 0:
		return nil, schemaError("rules", "a policy needs at least one rule", "array is too short: must have at least 1 elements but instance has 0 elements")
	case len(list) > MaxRules:
		return nil, schemaError("rules", fmt.Sprintf("a policy has at most %d rules", MaxRules),
			"array is too long: must have at most %d elements but instance has %d elements", MaxRules, len(list))
	}
	p := &Policy{Rules: make([]Rule, len(list))}
	for i, v := range list {
		if err := p.Rules[i].parse(fmt.Sprintf("rules[%d]", i), v); err != nil {
			return nil, err
		}
	}
	if err := checkAcross(p.Rules); err != nil {
		return nil, err
	}
	slices.SortFunc(p.Rules, func(a, b Rule) int { return cmp.Compare(a.Priority, b.Priority) })
	return p, nil
}

// decode reads one JSON object and nothing after it, keeping numbers as written.
func decode(text string) (map[string]any, bool) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil || doc == nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	return doc, true
}

// checkProperties compares an object's members with those the schema knows.
func checkProperties(path string, doc map[string]any, required, optional []string) *Error {
	var missing, unknown []string
	for _, name := range required {
		if _, ok := doc[name]; !ok {
			missing = append(missing, name)
		}
	}
	for name := range maps.Keys(doc) {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			unknown = append(unknown, clip(name))
		}
	}
	slices.Sort(missing)
	slices.Sort(unknown)
	if len(missing) > 0 {
		return schemaError(path, "", "object has missing required properties (%s)", quote(missing...))
	}
	if len(unknown) > 0 {
		return schemaError(path, "", "object instance has properties which are not allowed by the schema: (%s)", quote(unknown[:min(len(unknown), 20)]...))
	}
	return nil
}

func object(path string, v any) (map[string]any, *Error) {
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, wrongType(path, v, "object")
	}
	return doc, nil
}

// integer reads a JSON integer of at least minimum.
func integer(path string, v any, minimum int) (int, *Error) {
	n, ok := v.(json.Number)
	if !ok || typeName(n) != "integer" {
		return 0, wrongType(path, v, "integer")
	}
	i, err := strconv.ParseInt(n.String(), 10, 64)
	switch {
	case (err != nil && strings.HasPrefix(n.String(), "-")) || (err == nil && i < int64(minimum)):
		return 0, tooLow(path, minimum, n)
	case err != nil || i > math.MaxInt32:
		e := unmappable()
		e.Path, e.Hint = path, "the number is too large"
		return 0, e
	}
	return int(i), nil
}

// enum reads a string that must be one of the allowed values.
func enum[T ~string](path string, v any, allowed ...T) (T, *Error) {
	s, ok := v.(string)
	if !ok {
		return "", wrongType(path, v, "string")
	}
	if !slices.Contains(allowed, T(s)) {
		names := make([]string, len(allowed))
		for i, a := range allowed {
			names[i] = string(a)
		}
		slices.Sort(names)
		return "", notInEnum(path, s, names...)
	}
	return T(s), nil
}

func (r *Rule) parse(path string, v any) *Error {
	doc, err := object(path, v)
	if err != nil {
		return err
	}
	if err := checkProperties(path, doc, []string{"rulePriority", "selection", "action"}, []string{"description"}); err != nil {
		return err
	}
	if r.Priority, err = integer(path+".rulePriority", doc["rulePriority"], 1); err != nil {
		return err
	}
	if d, ok := doc["description"]; ok {
		if r.Description, ok = d.(string); !ok {
			return wrongType(path+".description", d, "string")
		}
	}
	if err := r.Action.parse(path+".action", doc["action"]); err != nil {
		return err
	}
	if err := r.Selection.parse(path+".selection", doc["selection"]); err != nil {
		return err
	}
	switch {
	case r.Selection.CountType == SinceImagePulled && r.Action.Type != Transition:
		return ruleError(path, "Rules with countType=sinceImagePulled only support the transition action")
	case r.Selection.CountType == SinceImageTransitioned && r.Action.Type != Expire:
		return ruleError(path, "Rules with countType=sinceImageTransitioned only support the expire action")
	}
	return nil
}

func (a *Action) parse(path string, v any) *Error {
	doc, err := object(path, v)
	if err != nil {
		return err
	}
	if err := checkProperties(path, doc, []string{"type"}, []string{"targetStorageClass"}); err != nil {
		return err
	}
	if a.Type, err = enum(path+".type", doc["type"], Expire, Transition); err != nil {
		return err
	}
	target, given := doc["targetStorageClass"]
	switch {
	case given && target == nil:
		return noActionSchema(path, "targetStorageClass is null; leave it out instead")
	case given && a.Type == Expire:
		return noActionSchema(path, "the expire action takes no targetStorageClass")
	case !given && a.Type == Transition:
		return noActionSchema(path, "the transition action needs targetStorageClass archive")
	case given:
		a.TargetStorageClass, err = enum(path+".targetStorageClass", target, Archive)
	}
	return err
}

func (s *Selection) parse(path string, v any) *Error {
	doc, err := object(path, v)
	if err != nil {
		return err
	}
	optional := []string{"tagPatternList", "tagPrefixList", "storageClass", "countUnit"}
	if err := checkProperties(path, doc, []string{"tagStatus", "countType", "countNumber"}, optional); err != nil {
		return err
	}
	for _, name := range optional {
		if value, given := doc[name]; given && value == nil {
			return noSelectionSchema(path, name+" is null; leave it out instead")
		}
	}
	if s.TagStatus, err = enum(path+".tagStatus", doc["tagStatus"], Tagged, Untagged, Any); err != nil {
		return err
	}
	if s.CountType, err = enum(path+".countType", doc["countType"],
		ImageCountMoreThan, SinceImagePushed, SinceImagePulled, SinceImageTransitioned); err != nil {
		return err
	}
	if err := s.parseCount(path, doc); err != nil {
		return err
	}
	return s.parseTags(path, doc)
}

// parseCount reads the members that ECR's four selection schemas, one for each
// count type, tell apart.
func (s *Selection) parseCount(path string, doc map[string]any) (err *Error) {
	if unit, given := doc["countUnit"]; given {
		if s.CountUnit, err = enum(path+".countUnit", unit, Days); err != nil {
			return err
		}
	}
	s.StorageClass = Standard
	if class, given := doc["storageClass"]; given {
		if s.StorageClass, err = enum(path+".storageClass", class, Archive, Standard); err != nil {
			return err
		}
	}
	minimum := 1
	if s.CountType == SinceImageTransitioned {
		minimum = MinArchivedDays
	}
	if s.CountNumber, err = integer(path+".countNumber", doc["countNumber"], minimum); err != nil {
		return err
	}
	switch {
	case s.CountType.ByAge() && s.CountUnit == "":
		return noSelectionSchema(path, "countType "+string(s.CountType)+" needs countUnit days")
	case !s.CountType.ByAge() && s.CountUnit != "":
		return noSelectionSchema(path, "countType imageCountMoreThan takes no countUnit")
	case s.CountType == SinceImageTransitioned && s.StorageClass != Archive:
		return noSelectionSchema(path, "countType sinceImageTransitioned needs storageClass archive")
	case s.CountType != SinceImageTransitioned && s.StorageClass == Archive:
		return noSelectionSchema(path, "storageClass archive goes only with countType sinceImageTransitioned")
	}
	return nil
}

func (s *Selection) parseTags(path string, doc map[string]any) (err *Error) {
	patterns, hasPatterns := doc["tagPatternList"]
	prefixes, hasPrefixes := doc["tagPrefixList"]
	if hasPatterns {
		if s.TagPatterns, err = tagList(path+".tagPatternList", patterns); err != nil {
			return err
		}
	}
	if hasPrefixes {
		if s.TagPrefixes, err = tagList(path+".tagPrefixList", prefixes); err != nil {
			return err
		}
	}
	switch {
	case s.TagStatus != Tagged && (hasPatterns || hasPrefixes):
		return ruleError(path, "tagPrefixList and tagPatternList can only be specified when tagStatus=TAGGED.")
	case s.TagStatus == Tagged && len(s.TagPatterns) == 0 && len(s.TagPrefixes) == 0:
		return ruleError(path, "Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED.")
	case hasPatterns && hasPrefixes:
		return ruleError(path, "Must specify only one of tagPrefixList or tagPatternList when tagStatus=TAGGED.")
	}
	for i, pattern := range s.TagPatterns {
		if strings.Count(pattern, "*") > MaxWildcards {
			return ruleError(fmt.Sprintf("%s.tagPatternList[%d]", path, i), "A pattern in tagPatternList can contain at most %d wildcards (*)", MaxWildcards)
		}
	}
	return nil
}

// tagList reads prefixes or patterns. Their characters are those of a tag and
// the wildcard; a "*" in a prefix is harmless, as no tag has one.
func tagList(path string, v any) ([]string, *Error) {
	list, ok := v.([]any)
	if !ok {
		return nil, wrongType(path, v, "array")
	}
	if len(list) == 0 {
		return nil, nil
	}
	out := make([]string, len(list))
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		s, ok := v.(string)
		if !ok {
			return nil, wrongType(at, v, "string")
		}
		switch n := utf8.RuneCountInString(s); {
		case n == 0:
			return nil, schemaError(at, "", `string "" is too short (length: 0, required minimum: 1)`)
		case n > MaxTagLength:
			return nil, schemaError(at, "", "string %s is too long (length: %d, maximum allowed: %d)", quoteOne(clip(s)), n, MaxTagLength)
		case !isTagPattern(s):
			return nil, schemaError(at, "", `ECMA 262 regex "^[0-9a-zA-Z._*-]+$" does not match input string %s`, quoteOne(s))
		}
		out[i] = s
	}
	return out, nil
}

func isTagPattern(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte("._*-", c) < 0 {
			return false
		}
	}
	return true
}

// checkAcross checks what must hold between rules. Priorities are per policy,
// all else per storage class.
func checkAcross(rules []Rule) *Error {
	priorities := map[int]int{}
	untagged := map[StorageClass]bool{}
	lists := map[string]bool{}
	last := map[StorageClass]int{}
	for i, r := range rules {
		path := fmt.Sprintf("rules[%d]", i)
		if first, dup := priorities[r.Priority]; dup {
			return ruleError(path+".rulePriority", "Rule priorities must be unique, but rulePriority %d is used by more than one rule (rules %d and %d)", r.Priority, first+1, i+1)
		}
		priorities[r.Priority] = i
		s := r.Selection
		last[s.StorageClass] = max(last[s.StorageClass], r.Priority)
		switch s.TagStatus {
		case Untagged:
			if untagged[s.StorageClass] {
				return ruleError(path, "Only one rule can select Untagged images per storage class")
			}
			untagged[s.StorageClass] = true
		case Tagged:
			key := string(s.StorageClass) + "\x00prefix\x00" + joinSorted(s.TagPrefixes)
			if len(s.TagPatterns) > 0 {
				key = string(s.StorageClass) + "\x00pattern\x00" + joinSorted(s.TagPatterns)
			}
			if lists[key] {
				return ruleError(path, "The tagPrefixList or tagPatternList of each rule must be unique per storage class")
			}
			lists[key] = true
		}
	}
	for i, r := range rules {
		if r.Selection.TagStatus == Any && r.Priority != last[r.Selection.StorageClass] {
			return ruleError(fmt.Sprintf("rules[%d].rulePriority", i), "Rule for tagStatus=ANY must have the lowest priority per storage class")
		}
	}
	return nil
}

// joinSorted makes equal lists equal text, whatever their order and repeats.
func joinSorted(list []string) string {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return strings.Join(slices.Compact(sorted), "\x00")
}
