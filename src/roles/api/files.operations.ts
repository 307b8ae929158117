import { FileDocument, FileList } from '../../surfaces/batches/batch-document.ts';
import { DeletedFile, ListFiles, UploadFile } from './files.schemas.ts';
import { bytes, inPath, json, type Operation } from './operation.ts';
import { MadeOnce } from './request-headers.ts';

const parameters = inPath('id', 'the id of a file', 'file-0123456789abcdef01234567');

export const FILE_OPERATIONS: readonly Operation[] = [
  {
    id: 'uploadFile',
    method: 'post',
    path: '/v1/files',
    tag: 'Files',
    summary: 'Upload the lines of a batch',
    description: 'Up to 200 MB, as multipart/form-data; the field `purpose` comes before the file.',
    scope: 'submit',
    headers: MadeOnce,
    form: { description: '', type: 'multipart/form-data', name: 'UploadFile', schema: UploadFile },
    success: { '200': json('the file, kept for 30 days', 'File', FileDocument) },
    errors: ['request_invalid', 'media_type_unsupported', 'body_too_large', 'idempotency_key_reused', 'too_many_files'],
  },
  {
    id: 'listFiles',
    method: 'get',
    path: '/v1/files',
    tag: 'Files',
    summary: "List the tenant's files, newest first",
    scope: 'read',
    query: ListFiles,
    success: { '200': json('a page', 'FileList', FileList) },
    errors: ['request_invalid', 'file_not_found'],
  },
  {
    id: 'getFile',
    method: 'get',
    path: '/v1/files/{id}',
    tag: 'Files',
    summary: 'Get the facts about a file',
    scope: 'read',
    parameters,
    success: { '200': json('the file', 'File', FileDocument) },
    errors: ['file_not_found'],
  },
  {
    id: 'getFileContent',
    method: 'get',
    path: '/v1/files/{id}/content',
    tag: 'Files',
    summary: 'Get the content of a file',
    scope: 'read',
    parameters,
    success: { '200': bytes('the bytes') },
    errors: ['file_not_found'],
  },
  {
    id: 'deleteFile',
    method: 'delete',
    path: '/v1/files/{id}',
    tag: 'Files',
    summary: 'Delete a file',
    scope: 'submit',
    parameters,
    success: { '200': json('the file is deleted', 'DeletedFile', DeletedFile) },
    errors: ['file_not_found'],
  },
];
