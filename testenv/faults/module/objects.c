// SPDX-License-Identifier: Apache-2.0

// Objects: what is found, and what their attributes read.

#include <stdlib.h>
#include <string.h>

#include "token.h"

enum { MAX_POINT = 256 };

// enum view is how the rules make an attribute look.
enum view { AS_BEHIND, HIDDEN, REPLACED, UNREADABLE };

static CK_RV read_behind(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
			 void *value, CK_ULONG *length)
{
	CK_ATTRIBUTE attribute = {type, value, *length};
	CK_RV rv = behind->C_GetAttributeValue(session, object, &attribute, 1);

	if (rv == CKR_OK)
		*length = attribute.ulValueLen;
	return rv;
}

// class_of is CK_UNAVAILABLE_INFORMATION when the object does not say.
static CK_OBJECT_CLASS class_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	CK_OBJECT_CLASS class;
	CK_ULONG length = sizeof(class);

	if (read_behind(session, object, CKA_CLASS, &class, &length) != CKR_OK || length != sizeof(class))
		return CK_UNAVAILABLE_INFORMATION;
	return class;
}

static bool has_generated(CK_SESSION_HANDLE session)
{
	const struct session *ours = session_of(session);

	return ours != NULL && ours->has_generated;
}

// unwrap takes the OCTET STRING off a DER-encoded point and reports whether
// there was one. Points take at most two bytes for its length.
static bool unwrap(CK_BYTE *point, CK_ULONG *length)
{
	CK_ULONG header = *length > 2 && point[1] == 0x81 ? 3 : 2;

	if (*length <= header || point[0] != 0x04 || point[header - 1] != *length - header)
		return false;
	*length -= header;
	memmove(point, point + header, *length);
	return true;
}

// view puts the value of an attribute that is replaced into value, or the return
// value of one that is unreadable.
static enum view view(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_OBJECT_CLASS class,
		      CK_ATTRIBUTE_TYPE type, CK_BYTE value[MAX_VALUE], CK_ULONG *length)
{
	for (size_t i = 0; i < rules.attribute_count; i++) {
		const struct attribute_rule *rule = &rules.attributes[i];

		if (rule->class != class || rule->type != type || (rule->at_birth && !has_generated(session)))
			continue;
		if (rule->hidden)
			return HIDDEN;
		if (rule->rv != CKR_OK) {
			memcpy(value, &rule->rv, sizeof(rule->rv));
			return UNREADABLE;
		}
		memcpy(value, rule->value, rule->length);
		*length = rule->length;
		return REPLACED;
	}
	if (rules.ec_point_raw && type == CKA_EC_POINT) {
		*length = MAX_POINT;
		if (read_behind(session, object, type, value, length) == CKR_OK && unwrap(value, length))
			return REPLACED;
	}
	return AS_BEHIND;
}

// concerned is whether any rule is on the attribute, of whatever class.
static bool concerned(CK_ATTRIBUTE_TYPE type)
{
	for (size_t i = 0; i < rules.attribute_count; i++) {
		if (rules.attributes[i].type == type)
			return true;
	}
	return rules.ec_point_raw && type == CKA_EC_POINT;
}

// answer_attribute fills in one attribute as C_GetAttributeValue does.
static CK_RV answer_attribute(CK_ATTRIBUTE *attribute, const CK_BYTE *value, CK_ULONG length)
{
	CK_ULONG room = attribute->ulValueLen;

	if (attribute->pValue != NULL && room < length) {
		attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_BUFFER_TOO_SMALL;
	}
	attribute->ulValueLen = length;
	if (attribute->pValue != NULL)
		memcpy(attribute->pValue, value, length);
	return CKR_OK;
}

static CK_RV get_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_OBJECT_CLASS class,
			   CK_ATTRIBUTE *attribute)
{
	CK_BYTE value[MAX_VALUE];
	CK_ULONG length;
	CK_RV rv;

	switch (view(session, object, class, attribute->type, value, &length)) {
	case HIDDEN:
		attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_ATTRIBUTE_TYPE_INVALID;
	case UNREADABLE:
		memcpy(&rv, value, sizeof(rv));
		return rv;
	case REPLACED:
		return answer_attribute(attribute, value, length);
	case AS_BEHIND:
		break;
	}
	return behind->C_GetAttributeValue(session, object, attribute, 1);
}

// concerns_one_attribute is whether a failure leaves the others to be filled in.
static bool concerns_one_attribute(CK_RV rv)
{
	return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_BUFFER_TOO_SMALL;
}

CK_RV get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
			  CK_ULONG count)
{
	CK_OBJECT_CLASS class;
	CK_RV first = CKR_OK;

	if (template == NULL || (rules.attribute_count == 0 && !rules.ec_point_raw))
		return behind->C_GetAttributeValue(session, object, template, count);
	class = class_of(session, object);
	for (CK_ULONG i = 0; i < count; i++) {
		CK_RV rv = get_attribute(session, object, class, &template[i]);

		if (rv != CKR_OK && !concerns_one_attribute(rv))
			return rv;
		if (first == CKR_OK)
			first = rv;
	}
	return first;
}

CK_RV generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
			CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
			CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
	struct session *ours = session_of(session);
	CK_RV rv = behind->C_GenerateKeyPair(session, mechanism, public_template, public_count, private_template,
					     private_count, public_key, private_key);

	if (ours != NULL && rv == CKR_OK)
		ours->has_generated = true;
	return rv;
}

// keep_criteria remembers the attributes of a search that the module behind
// can't judge, and puts the others into rest.
static CK_RV keep_criteria(struct session *session, const CK_ATTRIBUTE *template, CK_ULONG count,
			   CK_ATTRIBUTE *rest, CK_ULONG *rest_count)
{
	session->find_nothing = false;
	session->criterion_count = 0;
	*rest_count = 0;
	for (CK_ULONG i = 0; i < count; i++) {
		struct criterion *criterion = &session->criteria[session->criterion_count];

		if (rules.hide_id_search && template[i].type == CKA_ID)
			session->find_nothing = true;
		if (!concerned(template[i].type)) {
			rest[(*rest_count)++] = template[i];
			continue;
		}
		if (session->criterion_count == MAX_CRITERIA || template[i].ulValueLen > MAX_VALUE ||
		    template[i].pValue == NULL)
			return CKR_TEMPLATE_INCONSISTENT;
		criterion->type = template[i].type;
		criterion->length = template[i].ulValueLen;
		memcpy(criterion->value, template[i].pValue, criterion->length);
		session->criterion_count++;
	}
	return CKR_OK;
}

CK_RV find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	struct session *ours = session_of(session);
	CK_ATTRIBUTE *rest;
	CK_ULONG rest_count;
	CK_RV rv;

	if (ours == NULL || (template == NULL && count > 0))
		return behind->C_FindObjectsInit(session, template, count);
	rest = calloc(count + 1, sizeof(*rest)); // not 0, which may give NULL
	if (rest == NULL)
		return CKR_HOST_MEMORY;
	rv = keep_criteria(ours, template, count, rest, &rest_count);
	if (rv == CKR_OK)
		rv = behind->C_FindObjectsInit(session, rest, rest_count);
	free(rest);
	return rv;
}

// meets is whether an object is what a search asks for, as the rules make it look.
static bool meets(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_OBJECT_CLASS class,
		  const struct criterion *criterion)
{
	CK_BYTE value[MAX_VALUE];
	CK_ULONG length = sizeof(value);

	switch (view(session, object, class, criterion->type, value, &length)) {
	case HIDDEN:
	case UNREADABLE:
		return false;
	case AS_BEHIND:
		length = sizeof(value);
		if (read_behind(session, object, criterion->type, value, &length) != CKR_OK)
			return false;
		break;
	case REPLACED:
		break;
	}
	return length == criterion->length && memcmp(value, criterion->value, length) == 0;
}

static bool visible(CK_SESSION_HANDLE session, const struct session *ours, CK_OBJECT_HANDLE object)
{
	CK_OBJECT_CLASS class;

	if (ours->find_nothing || (rules.hide_before_login && !user_logged_in(session)))
		return false;
	class = class_of(session, object);
	if (class <= CKO_PRIVATE_KEY && rules.hidden_classes[class])
		return false;
	for (CK_ULONG i = 0; i < ours->criterion_count; i++) {
		if (!meets(session, object, class, &ours->criteria[i]))
			return false;
	}
	return true;
}

CK_RV find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count)
{
	const struct session *ours = session_of(session);
	CK_ULONG kept = 0;

	if (ours == NULL || objects == NULL || count == NULL)
		return behind->C_FindObjects(session, objects, max, count);

	// Fewer than asked for means that there are no more: so ask on for those
	// that are not visible.
	while (kept < max) {
		CK_ULONG found = 0;
		CK_RV rv = behind->C_FindObjects(session, objects + kept, max - kept, &found);

		if (rv != CKR_OK)
			return rv;
		if (found == 0)
			break;
		for (CK_ULONG i = 0, from = kept; i < found; i++) {
			if (visible(session, ours, objects[from + i]))
				objects[kept++] = objects[from + i];
		}
	}
	*count = kept;
	return CKR_OK;
}
